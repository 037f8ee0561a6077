"""Frames with one person's face tracked and aligned for a model."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from cals.face.align import Aligner, sample_crop
from cals.face.mask import build_lower_face_mask
from cals.face.occlusion import OcclusionDetector
from cals.face.skip_reasons import OCCLUDED
from cals.face.tracker import FaceTracker
from cals.inference.face_cache import FaceRecorder, FaceReplay
from cals.media.frame import Frame
from cals.options import OcclusionPolicy
from cals.types import F32, U8, CropTransform, TrackedFace

MAX_LOOK_AHEAD_S = 20
"""Length of the look-ahead before the first frame is rendered."""
MAX_LOOK_AHEAD_FRAMES = 600
"""Largest number of frames in the look-ahead, whose faces stay in memory."""


@dataclass(frozen=True, eq=False)
class View:
    """One aligned face, as a model takes it."""

    transform: CropTransform
    crop: U8 = field(repr=False)
    landmarks: F32 = field(repr=False)
    """[468 3] in crop pixels."""
    frame_px: tuple[int, int]
    """Width and height of the frame."""

    @cached_property
    def mask(self) -> F32:
        """Weight of a generated crop at each pixel, [size size]."""
        return build_lower_face_mask(self.landmarks, self.transform, *self.frame_px)


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame and the person's face in it; `view` is None where there is no face, or none to be rendered."""

    frame: Frame
    face: TrackedFace
    view: View | None


class FrameTracker:
    """Tracks and aligns one person's face, with an optional look-ahead whose frames are not tracked twice.

    `covered` is given where faces are to be rendered: a face with a hindrance then has no view. A covered mouth has
    no view with "keep" and keeps its view with "draw". With a `recording` faces are kept in it, or come from it.
    """

    def __init__(
        self,
        tracker: FaceTracker,
        crop_px: int,
        *,
        covered: OcclusionPolicy | None = None,
        recording: FaceReplay | FaceRecorder | None = None,
    ) -> None:
        self._tracker, self._aligner, self._recording = tracker, Aligner(crop_px), recording
        self._covered, self._cover_watch, self._had_cut = covered, OcclusionDetector(), False
        self._last_item: TrackedFrame | None = None
        self._tracked_ahead: deque[tuple[Fraction, TrackedFace, View | None]] = deque()

    def track(self, frames: Iterable[Frame]) -> Iterator[TrackedFrame]:
        """Yield each frame with its face; the frames of `look_ahead` have to come first, in the same order."""
        for frame in frames:
            yield self._recall(frame) if self._tracked_ahead else self._track_frame(frame)

    def look_ahead(self, frames: Iterable[Frame]) -> Iterator[TrackedFrame]:
        """Track the beginning of a video, and keep the faces for `track`."""
        for count, frame in enumerate(frames):
            if frame.time_s > MAX_LOOK_AHEAD_S or count >= MAX_LOOK_AHEAD_FRAMES:
                break
            item = self._track_frame(frame)
            self._tracked_ahead.append((frame.source_s, item.face, item.view))
            yield item

    def recall_ahead(self, frames: Iterable[Frame]) -> Iterator[TrackedFrame]:
        """Yield the frames of `look_ahead`, read once more, with the faces that it kept."""
        for frame, (_, face, view) in zip(frames, self._tracked_ahead, strict=False):
            yield TrackedFrame(frame, face, view)

    def _recall(self, frame: Frame) -> TrackedFrame:
        source_s, face, view = self._tracked_ahead.popleft()
        if source_s != frame.source_s:
            raise ValueError(f"look ahead: expected the frame of {source_s} s, found that of {frame.source_s} s")
        self._last_item = TrackedFrame(frame, dataclasses.replace(face, index=frame.index, time_s=frame.time_s), view)
        return self._last_item

    def _track_frame(self, frame: Frame) -> TrackedFrame:
        if isinstance(self._recording, FaceReplay):
            face, transform = self._recording.read(frame)
            return TrackedFrame(frame, face, None if transform is None else _build_view(frame, face, transform))
        item = self._measure_frame(frame)
        if self._recording is not None:
            self._recording.write(frame, item.face, None if item.view is None else item.view.transform)
        return item

    def _measure_frame(self, frame: Frame) -> TrackedFrame:
        """Track one frame; a frame with the same pixels as the previous one (a photo) reuses its face."""
        last = self._last_item
        if last is not None and frame.has_same_pixels(last.frame):
            face = dataclasses.replace(last.face, index=frame.index, time_s=frame.time_s, cut=False)
            self._last_item = TrackedFrame(frame, face, last.view)
            return self._last_item
        face = self._tracker.update(frame, frame.time_s, frame.index)
        self._had_cut = self._had_cut or face.cut
        view = None
        if face.valid:
            transform = self._aligner.update(face)
        if face.valid and not (self._covered and face.skip_reason):
            view = _build_view(frame, face, transform)
        if view is not None and self._covered and self._is_covered(view, frame.time_s):
            face = dataclasses.replace(face, skip_reason=OCCLUDED)
            view = view if self._covered == "draw" else None
        self._last_item = TrackedFrame(frame, face, view)
        return self._last_item

    def _is_covered(self, view: View, time_s: Fraction) -> bool:
        cut, self._had_cut = self._had_cut, False
        return self._cover_watch.update(view.crop, view.landmarks, time_s, cut=cut)


def _build_view(frame: Frame, face: TrackedFace, transform: CropTransform) -> View:
    landmarks = transform.map_landmarks(face.landmarks)
    return View(transform, sample_crop(frame, transform), landmarks, (frame.width, frame.height))


def track_and_align(frames: Iterable[Frame], tracker: FaceTracker, crop_px: int) -> Iterator[TrackedFrame]:
    """Track and align one person's face through `frames`."""
    return FrameTracker(tracker, crop_px).track(frames)
