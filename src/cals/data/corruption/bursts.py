"""Corrupted frames of a clip: sampled from a seed, kept as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.data.corruption.config import AUDIO_KINDS, VIDEO_KINDS, CorruptionConfig, check_kind
from cals.errors import ConfigError, DataError

_SEEDS = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Burst:
    """One corrupted segment of one stream: with the clip itself, all that is needed to make it again."""

    start: int
    """First frame."""
    end: int
    """Frame after the last one."""
    kind: str
    strength: float
    """In the unit of `CorruptionConfig.strength`."""
    seed: int
    """Seed of everything else that is random in it."""

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if not 0 <= self.start < self.end or self.seed < 0:
            raise ConfigError(f"burst: expected 0 <= start < end and a seed from 0 on, found {self}")


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """All bursts of one clip, in order; those of one stream do not overlap."""

    frames: int
    """Length of the clip."""
    video: tuple[Burst, ...] = ()
    audio: tuple[Burst, ...] = ()

    def __post_init__(self) -> None:
        for name, bursts, kinds in (("video", self.video, VIDEO_KINDS), ("audio", self.audio, AUDIO_KINDS)):
            ends = [0, *(burst.end for burst in bursts)]
            apart = all(burst.start >= end for burst, end in zip(bursts, ends, strict=False))
            if not apart or ends[-1] > self.frames or any(burst.kind not in kinds for burst in bursts):
                raise ConfigError(
                    f"{name}: expected bursts of {', '.join(kinds)} one after another within {self.frames} frames, "
                    f"found {bursts}"
                )

    @property
    def truth(self) -> dict[str, NDArray[np.bool_]]:
        """Mask [t] of the corrupted frames by stream ("video", "audio")."""
        return {"video": mark_frames(self.video, self.frames), "audio": mark_frames(self.audio, self.frames)}


def mark_frames(bursts: tuple[Burst, ...], frames: int) -> NDArray[np.bool_]:
    """Return the mask [t] of the frames that lie within one of the bursts."""
    mask = np.zeros(frames, dtype=bool)
    for burst in bursts:
        mask[burst.start : burst.end] = True
    return mask


def draw_corruption(rng: np.random.Generator, frames: int, config: CorruptionConfig) -> Corruption:
    """Sample the corruption of a clip of `frames` frames; the same generator state gives the same bursts."""
    if frames < 1:
        raise ConfigError(f"frames: expected a clip of 1 or more, found {frames}")
    # Drawn whether used or not: a clip has the same bursts in one stream whatever becomes of the other.
    video, audio = (np.random.default_rng(int(seed)) for seed in rng.integers(_SEEDS, size=2))
    return Corruption(
        frames=frames,
        video=_draw_bursts(video, frames, config, config.video_kinds) if config.corrupts_video else (),
        audio=_draw_bursts(audio, frames, config, config.audio_kinds) if config.corrupts_audio else (),
    )


def _draw_bursts(
    rng: np.random.Generator, frames: int, config: CorruptionConfig, kinds: tuple[str, ...]
) -> tuple[Burst, ...]:
    if rng.random() >= config.probability:
        return ()
    count = min(int(rng.integers(*config.bursts, endpoint=True)), frames)
    lengths = np.maximum(1, (rng.uniform(*config.length, size=count) * frames).astype(int)).tolist()
    # What is left clean is cut at random places: all ways to put the bursts are about as likely.
    gaps = np.sort(rng.integers(0, frames - sum(lengths), size=count, endpoint=True)).tolist()
    drawn = []
    for i, length in enumerate(lengths):
        kind = kinds[int(rng.integers(len(kinds)))]
        start = gaps[i] + sum(lengths[:i])
        strength = float(rng.uniform(*config.get_strengths(kind)))
        seed = int(rng.integers(_SEEDS))
        drawn.append(Burst(start=start, end=start + length, kind=kind, strength=strength, seed=seed))
    return tuple(drawn)


def describe_corruption(corruption: Corruption) -> dict[str, Any]:
    """Convert a corruption to a JSON document; `parse_corruption` reads it back."""
    return {
        "frames": corruption.frames,
        "video": [asdict(burst) for burst in corruption.video],
        "audio": [asdict(burst) for burst in corruption.audio],
    }


def parse_corruption(document: Mapping[str, Any]) -> Corruption:
    """Parse a document of `describe_corruption`; DataError where it is none."""
    try:
        streams = {name: tuple(Burst(**burst) for burst in document[name]) for name in ("video", "audio")}
        return Corruption(frames=int(document["frames"]), **streams)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"corruption: expected frames and bursts by stream, found {error}; draw it again") from error
