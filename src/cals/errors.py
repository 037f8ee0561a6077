"""Errors that a user can cause; each message says what was expected, what was found and what to do."""


class CalsError(Exception):
    """Base class of all errors that `cals` raises on purpose; the CLI prints it as one line and exits 1."""


class MediaError(CalsError):
    """A video, image or audio file that cannot be read or written."""


class NoFaceError(CalsError):
    """No usable face where one is needed."""


class CheckpointError(CalsError):
    """Weights or a config that are missing, damaged or do not fit together."""


class ConfigError(CalsError):
    """An option or config field with a value outside its range, or a name that is not registered."""


class SameFaceError(ConfigError):
    """Two names of persons that mean one face."""


class DataError(CalsError):
    """A corpus, manifest, shard or file of segments that cannot be used."""
