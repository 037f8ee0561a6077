"""Delay of a clip's picture against its sound: estimated by sync encoders, or given by the user."""

import json
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cals.errors import DataError
from cals.evaluation.drives import RealClip
from cals.inference.sync_distances import measure_shifts
from cals.inference.sync_encoders import SyncEncoders
from cals.media.audio import mono_blocks
from cals.metrics.lse import lse_from_distances
from cals.metrics.offset import MAX_IN_STEP_OFFSET, MAX_OFFSET

FPS = 25
"""Rate that offsets are given in: frames of 1/25 s, whatever the clip's own rate."""
PARTS, MIN_WINDOWS = 3, 30
"""An offset is accepted if so many equal parts of the clip's windows agree with it, given enough windows."""


@dataclass(frozen=True, kw_only=True)
class ClipOffset:
    """A clip's offset and where it comes from."""

    late_frames: float
    """Frames of 1/25 s by which the picture is late, and by which its sound is delayed; negative: early."""
    why: str
    """Source of the value, or why there is none."""

    @property
    def delay_s(self) -> float:
        return self.late_frames / FPS


def find_offset(clip: RealClip, encoders: SyncEncoders) -> ClipOffset:
    """Estimate the offset by the encoders; 0 unless the thirds of the clip agree with the whole.

    Each third of the windows must give the same offset, within `MAX_IN_STEP_OFFSET` frames. On eleven clips of free
    speech this accepts eight offsets, all within a frame of those found by hand, and rejects the one that is two off.
    """
    snapshots = measure_shifts(clip.frames, mono_blocks(clip.source.video, encoders.sample_rate_hz), encoders)
    distances = np.array(deque(snapshots, maxlen=1).pop().distances)
    if len(distances) < MIN_WINDOWS:
        return ClipOffset(late_frames=0, why=f"too short to find: {len(distances)} windows")
    whole = lse_from_distances(distances)
    offsets = [lse_from_distances(part).offset_frames for part in np.array_split(distances, PARTS)]
    is_consistent = all(abs(part - whole.offset_frames) <= MAX_IN_STEP_OFFSET for part in offsets)
    detail = f"{', '.join(str(-part) for part in offsets)} in its thirds"
    if not is_consistent or abs(whole.offset_frames) == MAX_OFFSET:
        return ClipOffset(late_frames=0, why=f"not sure: {-whole.offset_frames} in all, {detail}")
    return ClipOffset(late_frames=-whole.offset_frames * FPS / encoders.fps, why=f"found: {detail}")


def read_offsets(path: Path, names: Collection[str]) -> dict[str, float]:
    """Read clip -> frames of 1/25 s by which its picture is late from a JSON file; DataError for any other file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        offsets = {str(name): float(frames) for name, frames in document.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected JSON with a number of frames for each clip, found {error!r}") from error
    unknown = sorted(offsets.keys() - set(names))
    extreme = sorted(name for name, frames in offsets.items() if not abs(frames) <= FPS)
    if unknown or extreme:
        raise DataError(
            f"{path}: expected names of clips, and at most {FPS} frames, found {', '.join([*unknown, *extreme][:3])}; "
            "correct them"
        )
    return offsets


def choose_offset(clip: RealClip, encoders: SyncEncoders, told: float | None) -> ClipOffset:
    """Return the given offset, or estimate it where `told` is None."""
    return find_offset(clip, encoders) if told is None else ClipOffset(late_frames=told, why="told")
