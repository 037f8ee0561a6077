"""All people of a video are followed at once: those with a number exactly as `--person` does, and those without."""

from fractions import Fraction

import numpy as np
import pytest
from face_scenes import background, put_face

from cals.face.detector import BlazeFaceMesh
from cals.face.people import PeopleTracker, count_faces
from cals.face.person import Person
from cals.face.picture import ArrayPicture
from cals.face.tracker import FaceTracker
from cals.types import U8, TrackedFace

FPS, MOST = 5, 3


@pytest.fixture(scope="module")
def scenes(portrait: U8) -> list[U8]:
    """A face on the right; from 0.6 s on one on the left, and a much smaller one between."""
    alone = put_face(background(480, 240, 1), portrait, 80, (380, 120))
    second = put_face(alone, portrait, 90, (110, 130), mirror=True)
    third = put_face(second, portrait, 30, (240, 60))
    return [alone] * 3 + [third] * 5


def track(detector: BlazeFaceMesh, scenes: list[U8]) -> tuple[PeopleTracker, list[list[TrackedFace]]]:
    tracker = PeopleTracker(detector, MOST)
    return tracker, [tracker.update(ArrayPicture(rgb), Fraction(i, FPS), i) for i, rgb in enumerate(scenes)]


def test_numbers_are_those_of_the_tracker_of_one(detector: BlazeFaceMesh, scenes: list[U8]) -> None:
    _, faces = track(detector, scenes)
    for number in (1, 2, 3):
        tracker = FaceTracker(detector, Person(kind="number", number=number))
        for i, rgb in enumerate(scenes):
            single, shared = tracker.update(ArrayPicture(rgb), Fraction(i, FPS), i), faces[i][number - 1]
            assert (single.valid, single.track, single.box) == (shared.valid, shared.track, shared.box)
            assert np.array_equal(single.landmarks, shared.landmarks)


def test_people_without_a_number_are_found(detector: BlazeFaceMesh, scenes: list[U8]) -> None:
    tracker, faces = track(detector, scenes)
    first, second = faces[-1][0], faces[-1][1]
    assert first.box == second.box  # both numbers are the face on the right
    assert first.box is not None
    assert abs((first.box.x0 + first.box.x1) / 2 - 380) < 10
    others = tracker.people[MOST:]
    assert {person.kind for person in others} == {"point"}
    assert sorted(round(person.x / 10) for person in others) == [11, 24]
    for person, face in zip(others, faces[-1][MOST:], strict=True):
        assert face.box is not None
        assert abs((face.box.x0 + face.box.x1) / 2 - person.x) < 10


def test_faces_are_counted(detector: BlazeFaceMesh, scenes: list[U8]) -> None:
    pictures = [(ArrayPicture(rgb), Fraction(i, FPS)) for i, rgb in enumerate(scenes)]
    assert count_faces(detector, pictures[:3]) == 1
    assert count_faces(detector, pictures) == 3
    assert count_faces(detector, [(ArrayPicture(background(160, 120, 2)), Fraction(0))]) == 0


def test_the_networks_run_once_for_all(detector: BlazeFaceMesh, scenes: list[U8]) -> None:
    class Counting:
        runs = 0

        def detect(self, rgb: U8) -> object:
            self.runs += 1
            return detector.detect(rgb)

        def predict_mesh(self, rgb: U8) -> object:
            self.runs += 1
            return detector.predict_mesh(rgb)

    alone, counting = [scenes[0]], Counting()
    PeopleTracker(counting).update(ArrayPicture(alone[0]), Fraction(0), 0)  # type: ignore[arg-type]
    single = Counting()
    FaceTracker(single, Person(kind="number")).update(ArrayPicture(alone[0]), Fraction(0), 0)  # type: ignore[arg-type]
    assert 0 < counting.runs <= single.runs
