"""Conditions under which clips are read: each is a row of the table."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from cals.data.corruption.config import (
    AUDIO_KINDS,
    KINDS,
    REFERENCE_PX,
    TESTING,
    VIDEO_KINDS,
    CorruptionConfig,
    check_kind,
    isolate_kind,
)
from cals.errors import ConfigError
from cals.evaluation.clips import ClipsConfig
from cals.models.avsr.beam import BeamConfig

Corrupted = Literal["none", "audio", "video", "both"]
"""Streams of a condition."""
Choice = Literal["none", "audio", "video", "both", "all"]
CLEAN, ANY, DROPOUT = "clean", "any", "dropout"
"""Kinds of a condition beside those of the corruption: none, and all of them as published."""


@dataclass(frozen=True, kw_only=True)
class WerConfig(ClipsConfig):
    """Which clips are read, how they are corrupted, and how the recognisers search."""

    corruption: Choice = "all"
    """The streams that are corrupted: one, both of them at once, or each of these in turn; clean clips are always
    read too."""
    kinds: tuple[str, ...] = KINDS
    """Of corruption that are looked at one by one."""
    snrs_db: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0, 15.0)
    """Signal-to-noise ratios of each kind of noise, and of all of them where both streams are corrupted."""
    patches_px: tuple[float, ...] = (20.0, 32.0, 45.0)
    """Sizes of what covers the mouth, in pixels of a mouth crop of 96 px."""
    noises: tuple[float, ...] = (0.1, 0.2, 0.4)
    """Deviations of the noise in pictures, as a share of white."""
    blurs: tuple[float, ...] = (0.03, 0.06, 0.1)
    """Deviations of the blur, as a share of the mouth crop's side."""
    withhold: bool = False
    """Read with audio-visual recognisers also when only one of their streams is given to them."""
    beam: BeamConfig = field(default_factory=BeamConfig)
    seeds: tuple[int, ...] = (0,)
    """Of the corruption; each clip is corrupted once for each. The first one is the bootstrap's too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.corruption not in get_args(Choice):
            raise ConfigError(f"corruption: expected {', '.join(get_args(Choice))}, found {self.corruption!r}")
        for kind in self.kinds:
            check_kind(kind)
        kinds = {"audio": AUDIO_KINDS, "video": VIDEO_KINDS}.get(self.corruption)
        if kinds and self.kinds and not set(kinds) & set(self.kinds):
            raise ConfigError(
                f"kinds: expected some of {', '.join(kinds)} to corrupt {self.corruption}, found "
                f"{', '.join(self.kinds)}; name others"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(f"seeds: expected one or more from 0 on, each once, found {self.seeds}; give 0")
        for name in ("snrs_db", "patches_px", "noises", "blurs"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name}: expected one strength or more, each once, found {values}")
        build_conditions(self)  # complains of strengths that cannot be

    @property
    def seed(self) -> int:
        """Of the bootstrap and of drawn sentences."""
        return self.seeds[0]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One version of the clips: corrupted, or with the pictures of other videos."""

    streams: Corrupted = "none"
    kind: str = CLEAN
    strength: float | None = None
    """In the unit of the table: dB, pixels of 96, share; None for a range."""
    config: CorruptionConfig | None = None

    @property
    def name(self) -> str:
        """Unique name, as in the table."""
        if self.streams == "none":
            return self.kind
        unit = " px" if self.kind == "patch" else "" if self.kind in VIDEO_KINDS else " dB"
        return f"{self.streams}: {self.kind}" + ("" if self.strength is None else f" {self.strength:g}{unit}")


def build_conditions(config: WerConfig) -> tuple[Condition, ...]:
    """Build all conditions of a table, the clean one first; ConfigError for impossible strengths."""
    conditions = [Condition()]
    if config.corruption in ("audio", "all"):
        conditions.append(_mix("audio"))
        for kind in (kind for kind in AUDIO_KINDS if kind in config.kinds):
            if kind == DROPOUT:
                conditions.append(Condition(streams="audio", kind=kind, config=isolate_kind(kind, 1.0)))
            else:
                conditions += [_isolate("audio", kind, snr_db, snr_db) for snr_db in config.snrs_db]
    if config.corruption in ("video", "all"):
        conditions.append(_mix("video"))
        strengths = {
            "patch": [(size, size / REFERENCE_PX) for size in config.patches_px],
            "noise": [(share, share) for share in config.noises],
            "blur": [(share, share) for share in config.blurs],
        }
        for kind in (kind for kind in VIDEO_KINDS if kind in config.kinds):
            conditions += [_isolate("video", kind, shown, strength) for shown, strength in strengths[kind]]
    if config.corruption in ("both", "all"):
        conditions.append(_mix("both"))
        conditions += [replace(_mix("both", snr_db), strength=snr_db) for snr_db in config.snrs_db]
    return tuple(conditions)


def _mix(streams: Literal["audio", "video", "both"], snr_db: float | None = None) -> Condition:
    """Build the condition of all kinds as published for tests, or with all noise at one ratio."""
    config = replace(TESTING, streams=streams)
    if snr_db is not None:
        config = replace(config, snr_db=(snr_db, snr_db))
    return Condition(streams=streams, kind=ANY, config=config)


def _isolate(streams: Corrupted, kind: str, shown: float, strength: float) -> Condition:
    return Condition(streams=streams, kind=kind, strength=shown, config=isolate_kind(kind, strength))
