"""The mask of a face whose lower part moves: all that moves is in it, and nothing else."""

import numpy as np
import pytest

import drawn_face
from cals.face.landmarks import CHIN, LEFT_EYE, MOUTH_OUTER, RIGHT_EYE
from cals.face.mask import build_lip_mask, build_lower_face_mask, build_moving_face_mask
from cals.types import F32, CropTransform

AS_IT_IS = CropTransform(matrix=np.eye(2, 3), size_px=128)
JAW = (172, 136, 150, 379, 365, 397)


def points(open_px: float) -> F32:
    """Build a synthetic face small enough for its chin to stay within the crop."""
    return np.asarray((drawn_face.points(open_px) - (64, 50, 0)) * 0.8 + (64, 50, 0), dtype=np.float32)


def mask(before_px: float, after_px: float, width: int = 128, height: int = 128) -> F32:
    return build_moving_face_mask(points(before_px), points(after_px), AS_IT_IS, width, height)


def at(found: F32, face: F32, index: int) -> float:
    x, y = face[index, :2]
    return float(found[int(y), int(x)])


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.0, 11.0), (11.0, 0.0), (4.0, 7.0)])
def test_mouth_and_chin_are_in_it_where_they_were_and_where_they_go(before: float, after: float) -> None:
    found = mask(before, after)
    for face in (points(before), points(after)):
        assert min(at(found, face, index) for index in (*MOUTH_OUTER, CHIN)) > 0.8
    assert found.dtype == np.float32
    assert found.max() <= 1 + 1e-6


def test_it_reaches_the_jaw_where_the_other_mask_does_not() -> None:
    moving, still = mask(0.0, 0.0), build_lower_face_mask(points(0.0), AS_IT_IS, 128, 128)
    covered = [np.mean([at(found, points(0.0), index) for index in JAW]) for found in (moving, still)]
    assert covered[0] > covered[1] + 0.15


def test_eyes_and_the_crops_rim_are_not_in_it() -> None:
    found = mask(6.0, 11.0)
    for eye in (LEFT_EYE, RIGHT_EYE):
        assert found[: int(points(6.0)[list(eye), 1].max()) + 4].max() == 0
    assert max(found[0].max(), found[-1].max(), found[:, 0].max(), found[:, -1].max()) == 0


def test_nothing_outside_the_face_is_in_it() -> None:
    found = mask(0.0, 4.0)
    oval = np.hypot(*((np.stack(np.meshgrid(np.arange(128), np.arange(128)), axis=-1) - (64, 64)) / (48, 54)).T).T
    assert found[oval > 1].max() < 0.05


def test_it_has_no_steps_and_ends_with_the_frame() -> None:
    found = mask(0.0, 6.0)
    assert max(np.abs(np.diff(found, axis=axis)).max() for axis in (0, 1)) < 0.4
    cut = mask(0.0, 6.0, width=70, height=100)
    assert cut[:, 70:].max() == cut[100:].max() == 0
    assert np.array_equal(cut[:100, :70], found[:100, :70])


def test_its_sides_retreat_where_the_source_is_turned_otherwise_but_neither_chin_nor_lips() -> None:
    found = [build_moving_face_mask(points(0.0), points(6.0), AS_IT_IS, 128, 128, deg) for deg in (0, 2, -7, 20, 90)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[3], found[4])
    covered = [np.mean([at(one, points(0.0), index) for index in JAW]) for one in found]
    assert covered[0] > covered[2] + 0.1
    assert covered[2] > covered[3] + 0.05
    for face in (points(0.0), points(6.0)):
        assert min(at(found[3], face, index) for index in (*MOUTH_OUTER, CHIN)) > 0.8


@pytest.mark.parametrize("deg", [-27.0, 0.0, 27.0])
def test_the_lips_of_a_turned_head_are_in_it_whatever_the_source(deg: float) -> None:
    angle, before, after = np.radians(deg), points(2.0), points(9.0)
    for face in (before, after):
        face[:, 0] = 64 + (face[:, 0] - 64) * np.cos(angle)
    found = build_moving_face_mask(before, after, AS_IT_IS, 128, 128, 20.0)
    for face in (before, after):
        assert min(at(found, face, index) for index in MOUTH_OUTER) > 0.9


@pytest.mark.parametrize("open_px", [0.0, 11.0])
def test_the_lips_mask_holds_them_and_what_is_between_but_no_chin(open_px: float) -> None:
    face = points(open_px)
    found = build_lip_mask(face, 128)
    middle = face[list(MOUTH_OUTER), :2].mean(axis=0).astype(int)
    assert found[middle[1], middle[0]] > 0.8
    assert at(found, face, CHIN) == at(found, face, LEFT_EYE[0]) == 0
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
