"""Intervals against the theory of the binomial."""

import math

import numpy as np
import pytest

from cals.metrics.bootstrap import estimate_ratio


def test_intervals_are_as_wide_as_the_binomials() -> None:
    right = np.tile([1.0, 0.0], 200)
    _, low, high = estimate_ratio(right, np.ones(400))
    assert (low + high) / 2 == pytest.approx(0.5, abs=0.005)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 400), rel=0.08)


def test_words_of_one_clip_are_not_worth_as_much_as_words_of_many() -> None:
    """Six words that are always right or wrong together are one."""
    together = estimate_ratio(np.tile([6.0, 0.0], 50), np.full(100, 6.0))
    single = estimate_ratio(np.tile([1.0, 0.0], 50), np.ones(100))
    assert together == pytest.approx(single)


def test_a_ratio_that_is_the_same_in_every_clip_is_sure() -> None:
    real = np.random.default_rng(0).integers(1, 7, size=30).astype(float)
    assert estimate_ratio(0.5 * real, real) == pytest.approx((0.5, 0.5, 0.5))


def test_intervals_are_seeded_and_absent_for_nothing() -> None:
    right, words = np.random.default_rng(3).uniform(0, 6, 25), np.full(25, 6.0)
    assert estimate_ratio(right, words, seed=1) == estimate_ratio(right, words, seed=1)
    assert estimate_ratio(right, words, seed=1) != estimate_ratio(right, words, seed=2)
    assert math.isnan(estimate_ratio(np.zeros(3), np.zeros(3)).value)
    assert estimate_ratio(np.ones(1), np.ones(1)) == (1, None, None)
