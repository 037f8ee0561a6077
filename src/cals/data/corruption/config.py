"""Amount, kinds and strengths of corruption."""

import difflib
from dataclasses import dataclass, replace
from typing import Literal, get_args

from cals.errors import ConfigError

VideoKind = Literal["patch", "noise", "blur"]
AudioKind = Literal["babble", "white", "pink", "music", "dropout"]
Streams = Literal["audio", "video", "both"]
VIDEO_KINDS: tuple[str, ...] = get_args(VideoKind)
AUDIO_KINDS: tuple[str, ...] = get_args(AudioKind)
KINDS = VIDEO_KINDS + AUDIO_KINDS
Range = tuple[float, float]
REFERENCE_PX = 96
"""Side of the mouth crop to which published sizes refer."""


def check_kind(kind: str, known: tuple[str, ...] = KINDS) -> None:
    """Raise ConfigError with the nearest known name where `kind` is none of `known`."""
    if kind not in known:
        similar = difflib.get_close_matches(kind.lower(), known, n=1)
        hint = f"did you mean {similar[0]}?" if similar else "choose one of them"
        raise ConfigError(f"kind: expected one of {', '.join(known)}, found '{kind}'; {hint}")


@dataclass(frozen=True, kw_only=True)
class CorruptionConfig:
    """AV-RelScore's corruption (paper section 3); [A] is published, [D] ours. Ranges are sampled uniformly."""

    streams: Streams = "both"
    probability: float = 1.0
    """That a stream which may be corrupted is, each by itself ([D]); 1 corrupts every clip."""
    video_kinds: tuple[str, ...] = VIDEO_KINDS
    """Kinds of which each burst has one ([A]; that all are as likely: [D])."""
    audio_kinds: tuple[str, ...] = AUDIO_KINDS
    """Babble and dropout are [A]; white, pink and music noise [D]."""
    bursts: tuple[int, int] = (1, 3)
    """Number of bursts in a clip and stream ([A])."""
    length: Range = (0.1, 0.3)
    """Length of a burst, as a share of the clip ([D])."""
    patch: Range = (20 / REFERENCE_PX, 45 / REFERENCE_PX)
    """Side of a square of the covered area, as a share of the mouth crop's side ([A])."""
    noise: Range = (0.1, 0.4)
    """Standard deviation of Gaussian noise in a pixel of the crop, as a share of white ([D])."""
    blur: Range = (0.03, 0.1)
    """Standard deviation of a smooth blur, as a share of the crop's side ([D])."""
    snr_db: Range = (-5.0, 15.0)
    """Mean power of the clip's sound over that of the noise ([A]: training)."""

    def __post_init__(self) -> None:
        if self.streams not in get_args(Streams):
            raise ConfigError(f"streams: expected {', '.join(get_args(Streams))}, found {self.streams!r}")
        for kinds, known in ((self.video_kinds, VIDEO_KINDS), (self.audio_kinds, AUDIO_KINDS)):
            for kind in kinds:
                check_kind(kind, known)
        if (self.corrupts_video and not self.video_kinds) or (self.corrupts_audio and not self.audio_kinds):
            raise ConfigError(f"kinds: expected one or more for each stream of '{self.streams}', found none; name one")
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"probability: expected 0 to 1, found {self.probability:g}")
        fewest, most = self.bursts
        if not 1 <= fewest <= most:
            raise ConfigError(f"bursts: expected 1 <= fewest <= most, found {self.bursts}")
        if not 0 < self.length[0] <= self.length[1] or most * self.length[1] > 1:
            raise ConfigError(
                f"length: expected shares above 0 of which {most} fit into a clip, found {self.length}; shorten them"
            )
        for name, (low, high), limit in (("patch", self.patch, 1), ("noise", self.noise, 1), ("blur", self.blur, 1)):
            if not 0 < low <= high <= limit:
                raise ConfigError(f"{name}: expected 0 < low <= high <= {limit}, found {(low, high)}")
        if not -60 <= self.snr_db[0] <= self.snr_db[1] <= 60:
            raise ConfigError(f"snr_db: expected -60 <= low <= high <= 60, found {self.snr_db}")

    @property
    def corrupts_video(self) -> bool:
        return self.streams != "audio"

    @property
    def corrupts_audio(self) -> bool:
        return self.streams != "video"

    def get_strengths(self, kind: str) -> Range:
        """Return the range of strengths of a kind, as in the fields; dropout always takes all of the sound (1)."""
        return {"patch": self.patch, "noise": self.noise, "blur": self.blur, "dropout": (1.0, 1.0)}.get(
            kind, self.snr_db
        )


TRAINING = CorruptionConfig(probability=0.7)
"""A tenth of the clips stays clean, half is corrupted in both streams ([D])."""
TESTING = CorruptionConfig(snr_db=(0.0, 15.0))
"""Every clip is corrupted, in both streams; sound is no worse than 0 dB ([A])."""


def select_kinds(config: CorruptionConfig, kinds: tuple[str, ...]) -> CorruptionConfig:
    """Return `config` with these kinds alone; a stream none of whose kinds is named stays clean.

    Raises ConfigError for an unknown kind, and where no stream is left to corrupt.
    """
    for kind in kinds:
        check_kind(kind)
    video = tuple(kind for kind in VIDEO_KINDS if kind in kinds and config.corrupts_video)
    audio = tuple(kind for kind in AUDIO_KINDS if kind in kinds and config.corrupts_audio)
    if not video and not audio:
        known = VIDEO_KINDS if config.streams == "video" else AUDIO_KINDS if config.streams == "audio" else KINDS
        found = ", ".join(kinds) or "none"
        raise ConfigError(f"kind: expected one of {', '.join(known)} for streams '{config.streams}', found {found}")
    streams: Streams = "both" if video and audio else "video" if video else "audio"
    return replace(
        config,
        streams=streams,
        video_kinds=video or config.video_kinds,
        audio_kinds=audio or config.audio_kinds,
    )


def isolate_kind(kind: str, strength: float, base: CorruptionConfig = TESTING) -> CorruptionConfig:
    """Return `base` with a single kind at a single strength, for a table of error by kind.

    `strength` is in the unit of the config; that of dropout is 1.
    """
    config = select_kinds(replace(base, probability=1.0), (kind,))
    if kind == "dropout":
        if strength != 1:
            raise ConfigError(f"dropout: expected a strength of 1, found {strength:g}; all of the sound drops out")
        return config
    name = kind if kind in VIDEO_KINDS else "snr_db"
    return replace(config, **{name: (strength, strength)})  # type: ignore[arg-type]


def choose_config(
    streams: Streams = "both", kinds: tuple[str, ...] = (), snr_db: tuple[float, ...] = ()
) -> CorruptionConfig:
    """Build the config of a test: all kinds or some, at one signal-to-noise ratio or between two."""
    config = replace(TESTING, streams=streams)
    if len(snr_db) > 2:
        raise ConfigError(f"snr_db: expected one number or the lowest and the highest, found {len(snr_db)} numbers")
    if snr_db:
        config = replace(config, snr_db=(snr_db[0], snr_db[-1]))
    return select_kinds(config, kinds) if kinds else config
