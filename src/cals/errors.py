"""Every error a user can cause; each message says what was expected, what was found, what to do."""


class CalsError(Exception):
    """Base of all errors that `cals` raises on purpose; the CLI prints one line of it and exits 1."""


class MediaError(CalsError):
    """A video, image or audio file cannot be read or written."""


class NoFaceError(CalsError):
    """No usable face was found where one is needed."""


class CheckpointError(CalsError):
    """Weights or their config are missing, damaged or do not fit together."""


class ConfigError(CalsError):
    """An option or config field has a value outside its range, or a name that is not registered."""


class DataError(CalsError):
    """A corpus, manifest or shard is not what training or evaluation needs."""
