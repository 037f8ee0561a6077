"""Tracking of all people of a video at once, each as the tracker of one person does."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from cals.face.detector import Detection, FaceDetector, compute_iou
from cals.face.mesh_fit import MeshFit
from cals.face.person import Person
from cals.face.search import find_faces
from cals.face.tracker import FaceTracker
from cals.types import F32, U8, Box, Picture, TrackedFace

MAX_PEOPLE, MAX_FOLLOWED = 8, 16
"""Numbers, as a search finds no more faces, and people with and without one."""
_SEARCH_INTERVAL_S = Fraction(1, 2)
_SAME_IOU = 0.3


class _SharedDetector:
    """A detector that runs once for each image of a frame, however many ask."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._detections: dict[bytes, list[Detection]] = {}
        self._meshes: dict[bytes, tuple[F32, float]] = {}

    def forget(self) -> None:
        """Forget the last frame."""
        self._detections.clear()
        self._meshes.clear()

    def detect(self, rgb: U8) -> list[Detection]:
        key = rgb.tobytes()
        if key not in self._detections:
            self._detections[key] = self._detector.detect(rgb)
        return list(self._detections[key])

    def predict_mesh(self, rgb: U8) -> tuple[F32, float]:
        key = rgb.tobytes()
        if key not in self._meshes:
            self._meshes[key] = self._detector.predict_mesh(rgb)
        points, score = self._meshes[key]
        return points.copy(), score


class PeopleTracker:
    """Tracks the persons that `--person 1`, `2`, ... stand for, and all others; takes every frame once, in order.

    Each face is exactly that of a `FaceTracker` of its own. Two numbers may stand for the same person, and some people
    have none: number 1 is chosen in the first frame with a face, number 2 in the first one with two, and much smaller
    faces are not counted. Faces that no number stands for are searched twice a second and followed by their place.
    `most` is the highest number; the trackers of those that nobody has cost most, see `count_faces`.
    """

    def __init__(self, detector: FaceDetector, most: int = MAX_PEOPLE) -> None:
        self._detector = _SharedDetector(detector)
        self.people = [Person(kind="number", number=number) for number in range(1, most + 1)]
        """Whom the faces of `update` belong to; people who are found later follow."""
        self._trackers = [FaceTracker(self._detector, person) for person in self.people]
        self._next_search_s = Fraction(0)

    def update(self, picture: Picture, time_s: Fraction, index: int) -> list[TrackedFace]:
        """Track all faces in the next frame; they are in the order of `people`."""
        self._detector.forget()
        faces = [tracker.update(picture, time_s, index) for tracker in self._trackers]
        is_due = time_s >= self._next_search_s or any(face.cut for face in faces)
        if is_due and len(self.people) < MAX_FOLLOWED:
            self._next_search_s = time_s + _SEARCH_INTERVAL_S
            for fit in find_faces(self._detector, picture, thorough=True):
                if len(self.people) < MAX_FOLLOWED and not self._is_followed(fit, faces):
                    self._follow(fit, time_s)
                    faces.append(self._trackers[-1].update(picture, time_s, index))
        return faces

    def is_other_person(self, index: int) -> bool:
        """Return whether the last face of `people[index]` is that of somebody else, as after a cut."""
        return self._trackers[index].is_other_person

    def _is_followed(self, fit: MeshFit, faces: Sequence[TrackedFace]) -> bool:
        return any(
            face.box is not None and not tracker.is_other_person and is_same_box(fit.box, face.box)
            for tracker, face in zip(self._trackers, faces, strict=True)
        )

    def _follow(self, fit: MeshFit, time_s: Fraction) -> None:
        x, y = (float(value) for value in fit.centre)
        self.people.append(Person(kind="point", x=x, y=y, time_s=time_s))
        self._trackers.append(FaceTracker(self._detector, self.people[-1]))


def count_faces(detector: FaceDetector, pictures: Iterable[tuple[Picture, Fraction]]) -> int:
    """Count the most faces that are visible at once, searched twice a second; `pictures` have their times."""
    most, next_s = 0, Fraction(0)
    for picture, time_s in pictures:
        if time_s >= next_s:
            next_s = time_s + _SEARCH_INTERVAL_S
            most = max(most, len(find_faces(detector, picture, thorough=True)))
    return most


def is_same_box(box: Box, other: Box) -> bool:
    """Return whether two boxes in one frame show the same face."""
    return bool(compute_iou(np.array(box), np.array([other]))[0] > _SAME_IOU)
