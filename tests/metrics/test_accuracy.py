"""Shares against closed forms."""

import math

import numpy as np
import pytest

from cals.metrics.accuracy import accuracy, argmax_where, count_confusions


def test_accuracy_is_the_share_that_was_read_right() -> None:
    assert accuracy(np.array([1, 2, 3, 3]), np.array([1, 2, 2, 3])) == 0.75
    assert math.isnan(accuracy(np.array([], int), np.array([], int)))
    with pytest.raises(ValueError, match="as many words"):
        accuracy(np.array([1]), np.array([1, 2]))


def test_the_best_of_what_is_allowed() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [-3.0, -1.0, -2.0]])
    allowed = np.array([[True, False, True], [True, False, True]])
    assert argmax_where(scores, allowed).tolist() == [2, 2]


def test_confusions_count_pairs() -> None:
    pred, target = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 0])
    assert count_confusions(pred, target, 3).tolist() == [[1, 2, 0], [0, 1, 0], [0, 0, 0]]
