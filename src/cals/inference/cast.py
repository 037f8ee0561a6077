"""The persons of one job, tracked in step, so that none takes another's face."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import combinations

import numpy as np

from cals.errors import SameFaceError
from cals.face.detector import FaceDetector, compute_iou
from cals.face.tracker import FaceTracker
from cals.inference.face_cache import FaceRecorder, FaceReplay
from cals.inference.frame_tracker import FrameTracker, TrackedFrame
from cals.inference.iteration import prefetch_frames, tee
from cals.inference.person_tracker import build_no_face_error, build_tracker
from cals.media.frame import Frame
from cals.media.source import FrameSource
from cals.options import OcclusionPolicy

Items = tuple[TrackedFrame, ...]
"""One frame with the face of each person."""
_SAME_FACE_IOU = 0.7
Heartbeat = Callable[[], None]
"""Called for each frame of a look-ahead, which yields nothing for seconds; what it raises ends the job."""


def do_nothing() -> None:
    """Be the heartbeat of a job that nobody cancels."""


class Cast:
    """The trackers of persons in the frames of `source`, named as `parse_person` takes them.

    The faces of a single person are kept in a `recording`, or come from it. Unless `is_exclusive`, whoever is there is
    followed in a shot that does not show the person.
    """

    def __init__(
        self,
        source: FrameSource,
        people: Sequence[str | int],
        detector: FaceDetector,
        crop_px: int,
        covered: OcclusionPolicy | None,
        recording: FaceReplay | FaceRecorder | None = None,
        *,
        is_exclusive: bool = True,
        heartbeat: Heartbeat = do_nothing,
    ) -> None:
        self._source, self._people, self._heartbeat = source, people, heartbeat
        self._trackers = (
            [FaceTracker(detector)]
            if isinstance(recording, FaceReplay)
            else [build_tracker(source.path, person, detector, source.open) for person in people]
        )
        if is_exclusive:
            for tracker in self._trackers:
                tracker.set_rivals(rival for rival in self._trackers if rival is not tracker)
        self._frame_trackers = [
            FrameTracker(tracker, crop_px, covered=covered, recording=recording) for tracker in self._trackers
        ]
        self._is_seen = [False for _ in people]
        self._is_checked = len(people) < 2

    def look_ahead(self) -> list[Iterator[TrackedFrame]]:
        """Track the beginning of a video, and return its frames for each person; close every iterator."""
        if self._source.is_photo:
            return [iter(()) for _ in self._people]
        if len(self._people) == 1:
            return [self._read(self._frame_trackers[0].look_ahead)]
        with self._source.open(quiet=True) as frames:  # in step; only then the frames of each person
            for items in self._zip(frames, [tracker.look_ahead for tracker in self._frame_trackers]):
                self._heartbeat()
                self._check(items)
        return [self._read(tracker.recall_ahead) for tracker in self._frame_trackers]

    def _read(self, track: Callable[[Iterable[Frame]], Iterator[TrackedFrame]]) -> Iterator[TrackedFrame]:
        with (
            self._source.open(quiet=True) as frames,
            closing(prefetch_frames(track(frames), lambda item: item.frame)) as items,
        ):
            for item in items:
                self._heartbeat()
                yield item

    def track(self, frames: Iterable[Frame]) -> Iterator[Items]:
        """Yield each frame with the face of every person; the frames of `look_ahead` have to come first."""
        for items in self._zip(frames, [tracker.track for tracker in self._frame_trackers]):
            self._check(items)
            self._is_seen = [is_seen or item.face.valid for is_seen, item in zip(self._is_seen, items, strict=True)]
            yield items

    @staticmethod
    def _zip(
        frames: Iterable[Frame], methods: Sequence[Callable[[Iterable[Frame]], Iterator[TrackedFrame]]]
    ) -> Iterator[Items]:
        copies = tee(frames, len(methods))
        return zip(*(method(copy) for method, copy in zip(methods, copies, strict=True)), strict=True)

    def _check(self, items: Items) -> None:
        """Raise SameFaceError if two names mean one face, as the first frame that shows all of them tells."""
        if self._is_checked:
            return
        boxes = {person: item.face.box for person, item in zip(self._people, items, strict=True) if item.face.box}
        self._is_checked = len(boxes) == len(self._people)
        for (person, box), (other, other_box) in combinations(boxes.items(), 2):
            if compute_iou(np.array(box), np.array([other_box]))[0] > _SAME_FACE_IOU:
                raise SameFaceError(
                    f"{self._source.path}: expected a face each for the persons '{person}' and '{other}', found one at "
                    f"{float(items[0].frame.time_s):.2f} s; `cals track --all` shows the numbers of the faces"
                )

    def require_faces(self) -> None:
        """Raise NoFaceError for a person whom no frame showed."""
        for person, tracker, is_seen in zip(self._people, self._trackers, self._is_seen, strict=True):
            if not is_seen:
                raise build_no_face_error(self._source.path, person, tracker)
