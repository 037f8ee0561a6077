"""The person followed is hidden or leaves for a while: others nearby are not taken for them."""

from fractions import Fraction

import numpy as np
from face_scenes import background, put_face, run

from cals.face.appearance import AppearanceGallery
from cals.face.detector import BlazeFaceMesh
from cals.face.person import parse_person
from cals.face.picture import ArrayPicture
from cals.face.shots import ShotDetector
from cals.face.tracker import FaceTracker
from cals.types import U8, Box, TrackedFace

SIZE = (640, 360)
HERE, THERE = (150.0, 180.0), (470.0, 180.0)


def _place_pair(portrait: U8, *, person: bool = True, seed: int = 1, swapped: bool = False) -> U8:
    """Draw the person, and a bystander (mirrored) of the same size."""
    at, other = (THERE, HERE) if swapped else (HERE, THERE)
    scene = put_face(background(*SIZE, seed), portrait, 120, other, mirror=True)
    return put_face(scene, portrait, 120, at) if person else scene


def _find_columns(faces: list[TrackedFace]) -> set[float]:
    """Return the rough columns of all faces found."""
    return {float(np.round(face.landmarks[:, 0].mean() / 160) * 160) for face in faces if face.valid}


def test_someone_gone_for_a_second_is_waited_for(detector: BlazeFaceMesh, portrait: U8) -> None:
    scenes = [_place_pair(portrait)] * 5 + [_place_pair(portrait, person=False)] * 25 + [_place_pair(portrait)] * 10
    faces = run(FaceTracker(detector, parse_person("left")), scenes)
    assert not any(face.cut for face in faces)
    assert [face.valid for face in faces[:30]] == [True] * 5 + [False] * 25
    assert all(face.valid for face in faces[35:])
    assert _find_columns(faces) == {160.0}


def test_someone_hidden_for_a_second_is_waited_for(detector: BlazeFaceMesh, portrait: U8) -> None:
    """A pillar that covers half of the picture is no cut."""
    hidden = _place_pair(portrait)
    hidden[:, :310] = 20
    faces = run(
        FaceTracker(detector, parse_person("left")),
        [_place_pair(portrait)] * 5 + [hidden] * 25 + [_place_pair(portrait)] * 10,
    )
    assert not any(face.cut for face in faces)
    assert all(face.valid for face in faces[35:])
    assert _find_columns(faces) == {160.0}


def test_after_two_seconds_another_one_is_taken(detector: BlazeFaceMesh, portrait: U8) -> None:
    scenes = [_place_pair(portrait)] * 3 + [_place_pair(portrait, person=False)] * 60
    faces = run(FaceTracker(detector, parse_person("left")), scenes)
    back = next(face for face in faces[3:] if face.valid)
    assert 2.0 <= float(back.time_s) - 3 / 25 <= 2.5
    assert _find_columns(faces[back.index :]) == {480.0}


def test_in_a_new_shot_the_one_followed_is_known_by_looks(detector: BlazeFaceMesh, portrait: U8) -> None:
    faces = run(
        FaceTracker(detector, parse_person("left")),
        [_place_pair(portrait)] * 4 + [_place_pair(portrait, seed=5, swapped=True)] * 4,
    )
    assert [face.cut for face in faces] == [False] * 4 + [True] + [False] * 3
    assert _find_columns(faces[4:]) == {480.0}


def test_who_stands_in_meanwhile_does_not_become_the_person(detector: BlazeFaceMesh, portrait: U8) -> None:
    """A cut to the other one alone for a while, and back to both with their sides changed."""
    alone = put_face(background(*SIZE, 3), portrait, 120, (320, 180), mirror=True)
    scenes = [_place_pair(portrait)] * 4 + [alone] * 30 + [_place_pair(portrait, seed=5, swapped=True)] * 4
    faces = run(FaceTracker(detector, parse_person("left")), scenes)
    assert _find_columns(faces[4:34]) == {320.0}
    assert _find_columns(faces[34:]) == {480.0}


def test_a_picture_stays_but_for_the_person(portrait: U8) -> None:
    box = Box(90, 110, 210, 250)
    for after, stays in ((_place_pair(portrait, person=False), True), (background(*SIZE, 7), False)):
        shots = ShotDetector()
        shots.update(ArrayPicture(_place_pair(portrait)), Fraction(0))
        shots.update(ArrayPicture(after), Fraction(1, 25))
        assert shots.is_background_unchanged(box) is stays


def test_looks_keep_the_first_views() -> None:
    rng = np.random.default_rng(0)
    thumbs = rng.normal(size=(40, 576)).astype(np.float32)
    thumbs /= np.linalg.norm(thumbs, axis=1, keepdims=True)
    looks = AppearanceGallery()
    assert not looks
    assert looks.compute_similarity(thumbs[0]) == -1
    for thumb in thumbs:
        looks.add(thumb)
    assert looks.compute_similarity(thumbs[3]) > 0.99
    assert looks.compute_similarity(thumbs[39]) > 0.99  # the latest is known as well
    assert looks.compute_similarity(thumbs[30]) < 0.5
