"""What stands side by side in an evaluation: models, videos of other systems, the real clip, and copied mouths."""

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
from cals.evaluation.drives import RealClip, Seen, seen_at, spoken, tracked_anew, with_copied_mouths
from cals.face.align import CROP_SIZE_PX
from cals.face.detector import FaceDetector
from cals.face.tracker import FaceTracker
from cals.inference.lipsync import LipSync
from cals.inference.tracked import TrackedFrame, tracked
from cals.media.frame import Frame
from cals.media.reader import VideoReader

REAL, COPY = "real", "copy"
"""What stands beside the others in every evaluation: the clip itself, and the baseline that hears nothing."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What a video shows while the real clip runs."""

    seen: Seen
    items: list[TrackedFrame]
    """Frame by frame; a view only where `seen` is valid."""
    own_place: bool = False
    """Its pictures have another size than the real ones, so its face was looked for and aligned by itself."""
    compute: float = math.nan
    """Seconds of processor time that a second of it took, all threads together; NaN for what was not made here."""


def shown_real(clip: RealClip) -> Shown:
    """The clip itself."""
    return Shown(clip.seen, clip.frames)


def shown_copy(clip: RealClip, detector: FaceDetector) -> Shown:
    """Mouths from other frames of the clip."""
    frames = list(with_copied_mouths(clip))
    return _in_place(clip, frames, detector, np.ones(len(frames), bool))


def shown_model(clip: RealClip, sound: Path, lips: LipSync, detector: FaceDetector) -> Shown:
    """The clip's face saying `sound`; frames that the model left alone, wholly or in part, are not valid."""
    began_s = time.process_time()
    frames, strengths = zip(*spoken(clip, sound, lips), strict=True)
    compute = (time.process_time() - began_s) / clip.end_s
    return replace(_in_place(clip, frames, detector, np.array(strengths) == 1), compute=compute)


def shown_video(clip: RealClip, video: Path, detector: FaceDetector) -> Shown:
    """A video that another system made; where it has ended, no frame is valid.

    With pictures of the clip's size it is judged where the clip has its face, else where its own face is found.
    """
    with VideoReader(video) as reader:
        frames = list(takewhile(lambda frame: float(frame.time_s) < clip.end_s, reader))
    if not frames:
        raise MediaError(f"{video}: expected pictures, found none; make it again")
    starts_s = np.array([float(frame.time_s) for frame in frames])
    index = np.maximum(np.searchsorted(starts_s, clip.middles_s, side="right") - 1, 0)
    lasts = clip.middles_s < float(frames[-1].time_s + frames[-1].duration_s)
    real = clip.frames[0].frame
    at = [
        frames[i].retimed(item.frame.index, item.frame.time_s, item.frame.duration_s)
        for i, item in zip(index, clip.frames, strict=True)
    ]
    if (at[0].width, at[0].height) == (real.width, real.height):
        return _in_place(clip, at, detector, lasts)
    return _by_itself(clip, at, detector, lasts)


def output_of(folder: Path, *names: str) -> Path | None:
    """The video called by the first of `names` that there is in a folder of outputs."""
    places = (folder / f"{name}{suffix}" for name in names for suffix in sorted(VIDEO_SUFFIXES))
    return next(filter(Path.is_file, places), None)


def _in_place(clip: RealClip, frames: Iterable[Frame], detector: FaceDetector, counts: NDArray[np.bool_]) -> Shown:
    frames = list(frames)
    seen = seen_at(clip.frames, tracked_anew(frames, detector))
    seen = replace(seen, valid=seen.valid & counts)
    items = []
    for item, frame, crop, valid in zip(clip.frames, frames, seen.crops, seen.valid, strict=True):
        view = replace(item.view, crop=crop) if valid and item.view is not None else None
        items.append(TrackedFrame(frame, item.face, view))
    return Shown(seen, items)


def _by_itself(clip: RealClip, frames: list[Frame], detector: FaceDetector, counts: NDArray[np.bool_]) -> Shown:
    found = list(tracked(frames, FaceTracker(detector), CROP_SIZE_PX))
    valid = counts & clip.seen.valid & np.array([item.view is not None for item in found])
    crops, landmarks = np.zeros_like(clip.seen.crops), np.full_like(clip.seen.landmarks, np.nan)
    for t in np.flatnonzero(valid):
        view = found[t].view
        assert view is not None
        crops[t], landmarks[t] = view.crop, view.landmarks[:, :2]
    items = [item if there else replace(item, view=None) for item, there in zip(found, valid, strict=True)]
    return Shown(Seen(crops, landmarks, valid), items, own_place=True)
