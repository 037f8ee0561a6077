"""Outputs that an evaluation compares: models, videos of other systems, the real clip, and copied mouths."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cals.data.manifest import VIDEO_SUFFIXES
from cals.errors import MediaError
from cals.evaluation.drives import AlignedFaces, RealClip, copy_mouths, crop_faces, generate_frames, track_faces
from cals.face.align import CROP_SIZE_PX
from cals.face.detector import FaceDetector
from cals.face.tracker import FaceTracker
from cals.inference.frame_tracker import TrackedFrame, track_and_align
from cals.inference.lipsync import LipSync
from cals.media.frame import Frame
from cals.media.reader import VideoReader

REAL, COPY = "real", "copy"
"""Methods of every evaluation: the clip itself, and the baseline that ignores the sound."""


@dataclass(frozen=True, eq=False)
class MethodOutput:
    """The video of one method, in time with the real clip."""

    faces: AlignedFaces
    frames: list[TrackedFrame]
    """Tracked frames; a view only where `seen` is valid."""
    has_own_alignment: bool = False
    """Whether its frame size differs from the real one, so that its face was detected and aligned separately."""
    compute: float = math.nan
    """Processor seconds for a second of video, all threads together; NaN where it was not generated here."""


def build_real_output(clip: RealClip) -> MethodOutput:
    """Return the clip itself."""
    return MethodOutput(clip.faces, clip.frames)


def build_copy_output(clip: RealClip, detector: FaceDetector) -> MethodOutput:
    """Build the baseline with mouths from other frames of the clip."""
    frames = list(copy_mouths(clip))
    return _align_to_clip(clip, frames, detector, np.ones(len(frames), bool))


def generate_output(clip: RealClip, sound: Path, lips: LipSync, detector: FaceDetector) -> MethodOutput:
    """Generate the clip's face saying `sound`; frames that the model left unchanged, even in part, are not valid."""
    began_s = time.process_time()
    frames, strengths = zip(*generate_frames(clip, sound, lips), strict=True)
    compute = (time.process_time() - began_s) / clip.end_s
    return replace(_align_to_clip(clip, frames, detector, np.array(strengths) == 1), compute=compute)


def read_output(clip: RealClip, video: Path, detector: FaceDetector) -> MethodOutput:
    """Read a video of another system; frames after its end are not valid.

    A video of the clip's frame size is cropped where the clip has its face, else where its own face is found.
    """
    with VideoReader(video) as reader:
        frames = list(takewhile(lambda frame: float(frame.time_s) < clip.end_s, reader))
    if not frames:
        raise MediaError(f"{video}: expected pictures, found none; make it again")
    starts_s = np.array([float(frame.time_s) for frame in frames])
    index = np.maximum(np.searchsorted(starts_s, clip.middles_s, side="right") - 1, 0)
    is_running = clip.middles_s < float(frames[-1].time_s + frames[-1].duration_s)
    real = clip.frames[0].frame
    retimed = [
        frames[i].with_time(item.frame.index, item.frame.time_s, item.frame.duration_s)
        for i, item in zip(index, clip.frames, strict=True)
    ]
    if (retimed[0].width, retimed[0].height) == (real.width, real.height):
        return _align_to_clip(clip, retimed, detector, is_running)
    return _align_separately(clip, retimed, detector, is_running)


def find_output(folder: Path, *names: str) -> Path | None:
    """Find the video of the first of `names` that a folder of outputs has; None without one."""
    paths = (folder / f"{name}{suffix}" for name in names for suffix in sorted(VIDEO_SUFFIXES))
    return next(filter(Path.is_file, paths), None)


def _align_to_clip(
    clip: RealClip, frames: Iterable[Frame], detector: FaceDetector, is_valid: NDArray[np.bool_]
) -> MethodOutput:
    frames = list(frames)
    seen = crop_faces(clip.frames, track_faces(frames, detector))
    seen = replace(seen, valid=seen.valid & is_valid)
    items = []
    for item, frame, crop, valid in zip(clip.frames, frames, seen.crops, seen.valid, strict=True):
        view = replace(item.view, crop=crop) if valid and item.view is not None else None
        items.append(TrackedFrame(frame, item.face, view))
    return MethodOutput(seen, items)


def _align_separately(
    clip: RealClip, frames: list[Frame], detector: FaceDetector, is_valid: NDArray[np.bool_]
) -> MethodOutput:
    tracked_frames = list(track_and_align(frames, FaceTracker(detector), CROP_SIZE_PX))
    valid = is_valid & clip.faces.valid & np.array([item.view is not None for item in tracked_frames])
    crops, landmarks = np.zeros_like(clip.faces.crops), np.full_like(clip.faces.landmarks, np.nan)
    for t in np.flatnonzero(valid):
        view = tracked_frames[t].view
        assert view is not None
        crops[t], landmarks[t] = view.crop, view.landmarks[:, :2]
    items = [item if keep else replace(item, view=None) for item, keep in zip(tracked_frames, valid, strict=True)]
    return MethodOutput(AlignedFaces(crops, landmarks, valid), items, has_own_alignment=True)
