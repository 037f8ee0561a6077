"""By how much a clip's file shows its picture after the sound that belongs to it: found, or told."""

import json
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cals.errors import DataError
from cals.evaluation.drives import RealClip
from cals.inference.shifts import measure_shifts
from cals.inference.sync_encoders import SyncEncoders
from cals.media.audio import mono_blocks
from cals.metrics.lse import lse_of_shifts
from cals.metrics.offset import MAX_OFFSET, TOLERATED_OFFSET

FPS = 25
"""Offsets are told in frames of 1/25 s, whatever the clip's own rate."""
PARTS, MIN_WINDOWS = 3, 30
"""An offset is believed if so many equal parts of the clip's windows, of which there are enough, agree with it."""


@dataclass(frozen=True, kw_only=True)
class ClipOffset:
    """What is known of a clip's offset."""

    late_frames: float
    """By how many frames of 1/25 s the picture is late, and its sound is delayed; negative: early."""
    why: str
    """Who says so, or why nobody does."""

    @property
    def late_s(self) -> float:
        return self.late_frames / FPS


def find_offset(clip: RealClip, encoders: SyncEncoders) -> ClipOffset:
    """The offset that the encoders find, believed where the thirds of the clip agree with the whole, else 0.

    Each third of the windows has to find it by itself, within `TOLERATED_OFFSET` frames. On eleven clips of free
    speech this believes eight offsets, all within a frame of those found by hand, and not the one that is two off.
    """
    growing = measure_shifts(clip.frames, mono_blocks(clip.source.video, encoders.sample_rate_hz), encoders)
    distances = np.array(deque(growing, maxlen=1).pop().distances)
    if len(distances) < MIN_WINDOWS:
        return ClipOffset(late_frames=0, why=f"too short to find: {len(distances)} windows")
    whole = lse_of_shifts(distances)
    parts = [lse_of_shifts(part).offset_frames for part in np.array_split(distances, PARTS)]
    agree = all(abs(part - whole.offset_frames) <= TOLERATED_OFFSET for part in parts)
    in_parts = f"{', '.join(str(-part) for part in parts)} in its thirds"
    if not agree or abs(whole.offset_frames) == MAX_OFFSET:
        return ClipOffset(late_frames=0, why=f"not sure: {-whole.offset_frames} in all, {in_parts}")
    return ClipOffset(late_frames=-whole.offset_frames * FPS / encoders.fps, why=f"found: {in_parts}")


def read_offsets(path: Path, names: Collection[str]) -> dict[str, float]:
    """Clip -> frames of 1/25 s by which its picture is late, from a JSON file; DataError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = {str(name): float(frames) for name, frames in document.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected JSON with a number of frames for each clip, found {error!r}") from error
    strange = sorted(found.keys() - set(names))
    wild = sorted(name for name, frames in found.items() if not abs(frames) <= FPS)
    if strange or wild:
        raise DataError(
            f"{path}: expected names of clips, and at most {FPS} frames, found {', '.join([*strange, *wild][:3])}; "
            "correct them"
        )
    return found


def choose_offset(clip: RealClip, encoders: SyncEncoders, told: float | None) -> ClipOffset:
    """The offset that was told, else what is found."""
    return find_offset(clip, encoders) if told is None else ClipOffset(late_frames=told, why="told")
