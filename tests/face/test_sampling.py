"""Sampling at free places: sharp as a bicubic filter, and exact where nothing has to be interpolated."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cals.face.sampling import sample_sharp, sample_smooth
from cals.types import F32, U8, compute_scale, invert_affine

CENTRES = np.stack(np.meshgrid(np.arange(90) + 0.5, np.arange(70) + 0.5), axis=-1).astype(np.float32)


def draw_waves(places: NDArray[np.floating], length_px: float) -> F32:
    """Draw waves of that length along both axes, in 0..255, at places [h w 2]."""
    x, y = (np.sin(2 * np.pi * places[..., axis] / length_px) for axis in (0, 1))
    return np.asarray(np.stack([127 + 60 * x + 60 * y, 127 + 100 * x, 127 + 100 * y], axis=-1), np.float32)


def measure_error(sampled: U8, places: F32, length_px: float) -> float:
    """Measure the root mean square error in levels, away from the edge."""
    error = sampled.astype(np.float32) - draw_waves(places, length_px)
    return float(np.sqrt((error[5:-5, 5:-5] ** 2).mean()))


@pytest.mark.parametrize("length_px", [5.0, 8.0, 12.0])
def test_sharp_sampling_is_as_good_as_bicubic(length_px: float) -> None:
    image = np.rint(draw_waves(CENTRES, length_px)).astype(np.uint8)
    places = CENTRES + np.array([0.5, 0.25], np.float32)
    bicubic = np.asarray(cv2.remap(image, places - np.float32(0.5), np.empty(0), cv2.INTER_CUBIC), np.uint8)
    sharp = measure_error(sample_sharp(image, places), places, length_px)
    assert sharp < measure_error(bicubic, places, length_px)
    assert sharp < 0.6 * measure_error(sample_smooth(image, places), places, length_px)


def test_pixels_at_their_own_places_stay() -> None:
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    np.testing.assert_array_equal(sample_smooth(image, CENTRES), image)
    smooth = cv2.GaussianBlur(image, (0, 0), 1.5)
    assert np.abs(sample_sharp(np.asarray(smooth, np.uint8), CENTRES).astype(int) - smooth).max() <= 2


def test_the_edge_is_repeated() -> None:
    image = np.full((70, 90, 3), 30, np.uint8)
    image[:, -1] = 200
    assert (sample_smooth(image, CENTRES + np.array([200, 0], np.float32)) == 200).all()


def test_scale_and_inverse_of_a_shear() -> None:
    matrix = np.array([[2.0, 1.0, 5.0], [0.5, 3.0, -7.0]])
    assert compute_scale(matrix) == pytest.approx(5.5**0.5)
    homogeneous = np.vstack([matrix, (0, 0, 1)])
    np.testing.assert_allclose(np.vstack([invert_affine(matrix), (0, 0, 1)]) @ homogeneous, np.eye(3), atol=1e-12)
