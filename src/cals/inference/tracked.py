"""Frames with one person's face in them, aligned as a model sees it."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Literal

from cals.face.align import Aligner, crop
from cals.face.cover import CoverWatch
from cals.face.hindrance import COVERED
from cals.face.mask import lower_face_mask
from cals.face.tracker import FaceTracker
from cals.media.frame import Frame
from cals.types import F32, U8, CropTransform, TrackedFace

Covered = Literal["keep", "draw"]
"""What becomes of a mouth with something before it: it is left as it is, or drawn over that all the same."""
AHEAD_S = 20
"""How much of a video is looked at before its first frame is drawn,"""
AHEAD_FRAMES = 600
"""and of how many frames, whose faces are held meanwhile."""


@dataclass(frozen=True, eq=False)
class View:
    """What the model sees of one face."""

    transform: CropTransform
    crop: U8 = field(repr=False)
    landmarks: F32 = field(repr=False)
    """[468 3] in crop pixels."""
    frame_px: tuple[int, int]
    """Width and height of the frame."""

    @cached_property
    def mask(self) -> F32:
        """Where a generated crop replaces this one, [size size]."""
        return lower_face_mask(self.landmarks, self.transform, *self.frame_px)


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame and the person's face in it; `view` is None where there is none, or none that is to be drawn."""

    frame: Frame
    face: TrackedFace
    view: View | None


class FrameTracker:
    """Follows a person through a video, and may look ahead: no frame is tracked twice for it.

    With `covered` faces are meant to be drawn: those that something speaks against have no view, which with "keep"
    goes for a covered mouth too; with "draw" that one keeps its view.
    """

    def __init__(self, tracker: FaceTracker, crop_px: int, *, covered: Covered | None = None) -> None:
        self._tracker, self._aligner = tracker, Aligner(crop_px)
        self._covered, self._watch, self._cut = covered, CoverWatch(), False
        self._last: TrackedFrame | None = None
        self._known: deque[tuple[Fraction, TrackedFace, View | None]] = deque()

    def track(self, frames: Iterable[Frame]) -> Iterator[TrackedFrame]:
        """Each frame with its face; those seen by `look_ahead` have to come first, in the same order."""
        for frame in frames:
            yield self._recall(frame) if self._known else self._track(frame)

    def look_ahead(self, frames: Iterable[Frame]) -> Iterator[TrackedFrame]:
        """Track the beginning of a video, and keep the faces for when `track` comes to it."""
        for count, frame in enumerate(frames):
            if frame.time_s > AHEAD_S or count >= AHEAD_FRAMES:
                break
            item = self._track(frame)
            self._known.append((frame.source_s, item.face, item.view))
            yield item

    def _recall(self, frame: Frame) -> TrackedFrame:
        source_s, face, view = self._known.popleft()
        if source_s != frame.source_s:
            raise ValueError(f"look ahead: expected the frame of {source_s} s, found that of {frame.source_s} s")
        self._last = TrackedFrame(frame, dataclasses.replace(face, index=frame.index, time_s=frame.time_s), view)
        return self._last

    def _track(self, frame: Frame) -> TrackedFrame:
        """A frame with the same pixels as the one before (a photo) is not looked at again."""
        last = self._last
        if last is not None and frame.same_pixels(last.frame):
            face = dataclasses.replace(last.face, index=frame.index, time_s=frame.time_s, cut=False)
            self._last = TrackedFrame(frame, face, last.view)
            return self._last
        face = self._tracker.update(frame, frame.time_s, frame.index)
        self._cut = self._cut or face.cut
        view = None
        if face.valid:
            transform = self._aligner.update(face)
        if face.valid and not (self._covered and face.hindrance):
            landmarks = transform.landmarks(face.landmarks)
            view = View(transform, crop(frame, transform), landmarks, (frame.width, frame.height))
        if view is not None and self._covered and self._is_covered(view, frame.time_s):
            face = dataclasses.replace(face, hindrance=COVERED)
            view = view if self._covered == "draw" else None
        self._last = TrackedFrame(frame, face, view)
        return self._last

    def _is_covered(self, view: View, time_s: Fraction) -> bool:
        cut, self._cut = self._cut, False
        return self._watch.update(view.crop, view.landmarks, time_s, cut=cut)


def tracked(frames: Iterable[Frame], tracker: FaceTracker, crop_px: int) -> Iterator[TrackedFrame]:
    """Follow the person through `frames`."""
    return FrameTracker(tracker, crop_px).track(frames)
