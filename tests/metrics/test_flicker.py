"""Pictures that change by a known amount."""

import math

import numpy as np
import pytest

from cals.metrics.flicker import compute_changes, flicker


def test_the_change_is_that_of_the_pixels_in_both_regions() -> None:
    crops = np.full((4, 8, 8, 3), 100, np.uint8)
    crops[1, :4] = 110
    crops[2, :4] = 90  # darker counts as lighter does
    crops[3, 4:] = 255
    regions = np.zeros((4, 8, 8), bool)
    regions[:, :4] = True
    regions[1, 2:] = False  # half of it is hidden by closed lips
    regions[3] = False
    assert compute_changes(crops, regions)[:2].tolist() == [10, 20]
    assert np.isnan(compute_changes(crops, regions)[2:]).all()


def test_flicker_is_a_ratio_of_means() -> None:
    real = np.array([1.0, 3.0])
    assert flicker(np.array([2.0, 2.0]), real) == pytest.approx(1)
    assert flicker(3 * real, real) == pytest.approx(3)
    assert flicker(np.zeros(2), real) == 0
    assert math.isnan(flicker(real, np.zeros(2)))
    assert math.isnan(flicker(np.zeros(0), np.zeros(0)))


def test_every_crop_needs_a_region() -> None:
    with pytest.raises(ValueError, match="region for every crop"):
        compute_changes(np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 8, 8), bool))
