"""Shares against closed forms, intervals against the theory of the binomial."""

import math

import numpy as np
import pytest

from cals.metrics.accuracy import accuracy, chosen_among, confusions, resampled_sums, share_interval


def test_accuracy_is_the_share_that_was_read_right() -> None:
    assert accuracy(np.array([1, 2, 3, 3]), np.array([1, 2, 2, 3])) == 0.75
    assert math.isnan(accuracy(np.array([], int), np.array([], int)))
    with pytest.raises(ValueError, match="as many words"):
        accuracy(np.array([1]), np.array([1, 2]))


def test_the_best_of_what_is_allowed() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [-3.0, -1.0, -2.0]])
    allowed = np.array([[True, False, True], [True, False, True]])
    assert chosen_among(scores, allowed).tolist() == [2, 2]


def test_confusions_count_pairs() -> None:
    read, said = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 0])
    assert confusions(read, said, 3).tolist() == [[1, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_intervals_are_as_wide_as_the_binomials() -> None:
    right = np.tile([1.0, 0.0], 200)
    low, high = share_interval(right, np.ones(400))
    assert (low + high) / 2 == pytest.approx(0.5, abs=0.005)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 400), rel=0.08)


def test_words_of_one_clip_are_not_worth_as_much_as_words_of_many() -> None:
    """Six words that are always right or wrong together are one."""
    together = share_interval(np.tile([6.0, 0.0], 50), np.full(100, 6.0))
    single = share_interval(np.tile([1.0, 0.0], 50), np.ones(100))
    assert together == pytest.approx(single)


def test_a_ratio_that_is_the_same_in_every_clip_is_sure() -> None:
    real = np.random.default_rng(0).integers(1, 7, size=30).astype(float)
    assert share_interval(0.5 * real, real) == pytest.approx((0.5, 0.5))


def test_intervals_are_seeded_and_absent_for_nothing() -> None:
    right, words = np.random.default_rng(3).uniform(0, 6, 25), np.full(25, 6.0)
    assert share_interval(right, words, seed=1) == share_interval(right, words, seed=1)
    assert share_interval(right, words, seed=1) != share_interval(right, words, seed=2)
    assert all(math.isnan(end) for end in share_interval(np.zeros(3), np.zeros(3)))
    sums = resampled_sums(np.arange(4.0)[:, None], resamples=500)
    assert sums.shape == (500, 1)
    assert sums.min() >= 0
    assert sums.max() <= 12
