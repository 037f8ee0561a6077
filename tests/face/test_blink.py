"""A blink draws skin over the eyes and changes nothing else; faces that it would spoil are left alone."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from cals.face.blink import Blinker
from cals.face.detector import BlazeFaceMesh
from cals.face.landmarks import LEFT_EYE, RIGHT_EYE
from cals.face.picture import ArrayPicture
from cals.face.tracker import FaceTracker
from cals.types import F32, U8

EYES = (LEFT_EYE, RIGHT_EYE)


@pytest.fixture(scope="module")
def landmarks(detector: BlazeFaceMesh, portrait: U8) -> F32:
    return FaceTracker(detector).update(ArrayPicture(portrait), Fraction(0), 0).landmarks


def read_pupils(rgb: U8, landmarks: F32) -> list[float]:
    """Return the mean brightness at the middle of each eye."""
    middles = [landmarks[list(eye), :2].mean(axis=0).astype(int) for eye in EYES]
    return [float(rgb[y - 1 : y + 2, x - 2 : x + 3].mean()) for x, y in middles]


def test_open_eyes_are_the_pictures_own(portrait: U8, landmarks: F32) -> None:
    assert np.array_equal(Blinker(landmarks).close(portrait, 0.0), portrait)


def test_closed_eyes_are_skin_and_all_else_stays(portrait: U8, landmarks: F32) -> None:
    closed = Blinker(landmarks).close(portrait, 1.0)
    for before, after in zip(read_pupils(portrait, landmarks), read_pupils(closed, landmarks), strict=True):
        assert after > 1.5 * before  # the iris is dark
    changed = np.argwhere((closed != portrait).any(axis=-1))[:, ::-1] + 0.5
    for eye, other in (EYES, EYES[::-1]):
        own, others = landmarks[list(eye), :2], landmarks[list(other), :2]
        near = changed[np.hypot(*(changed - own.mean(axis=0)).T) < np.hypot(*(changed - others.mean(axis=0)).T)]
        width, height = np.ptp(own, axis=0)
        above, below = np.array([[1, 3.5 * height], [1, 2.5 * height]])
        assert (near.min(axis=0) > own.min(axis=0) - above).all()
        assert (near.max(axis=0) < own.max(axis=0) + below).all()
        assert len(near) > 0.5 * width * height


def test_eyes_close_by_degrees(portrait: U8, landmarks: F32) -> None:
    blinker = Blinker(landmarks)
    changes = [float(np.abs(blinker.close(portrait, c).astype(float) - portrait).sum()) for c in (0.1, 0.4, 0.7, 1.0)]
    assert changes == sorted(changes)
    assert changes[0] > 0


def test_faces_that_a_blink_would_spoil_are_left_alone(portrait: U8, landmarks: F32) -> None:
    blinker = Blinker(landmarks)
    assert blinker.can_blink(portrait)
    closed, glasses = portrait.copy(), portrait.copy()
    for eye in EYES:
        x, y = landmarks[list(eye), :2].mean(axis=0).astype(int).tolist()
        cv2.ellipse(closed, (x, y), (10, 6), 0, 0, 360, portrait[y - 8, x].tolist(), -1)
        cv2.ellipse(glasses, (x, y), (16, 12), 0, 0, 360, (10, 10, 10), -1)
    assert not blinker.can_blink(closed)
    assert not blinker.can_blink(glasses)
    turned = landmarks.copy()
    turned[list(RIGHT_EYE), 0] = landmarks[362, 0] + 0.5 * (landmarks[list(RIGHT_EYE), 0] - landmarks[362, 0])
    assert not Blinker(turned).can_blink(portrait)
    assert not Blinker(0.4 * landmarks).can_blink(cv2.resize(portrait, None, fx=0.4, fy=0.4))  # type: ignore[arg-type]
