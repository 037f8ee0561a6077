"""Mutual information and perplexity against closed forms."""

import math

import numpy as np
import pytest

from cals.metrics.information import mutual_information, perplexity


def test_what_one_label_says_of_another() -> None:
    first = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert mutual_information(first, first) == pytest.approx(2)  # all of four alike
    assert mutual_information(first, first // 2) == pytest.approx(1)
    assert mutual_information(first // 2, first) == pytest.approx(1)
    assert mutual_information(first, np.tile([0, 1], 4)) == pytest.approx(0)
    assert mutual_information(first, np.zeros(8, np.int64)) == 0


def test_it_is_that_of_a_noisy_channel() -> None:
    sent = np.repeat([0, 1], 100)
    received = sent.copy()
    received[:25] = 1
    received[100:125] = 0
    noise = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert mutual_information(sent, received) == pytest.approx(1 - noise)


def test_perplexity_counts_places_in_use() -> None:
    shares = np.array([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [0, 0, 1, 0]])
    assert perplexity(shares).tolist() == pytest.approx([4, 2, 1])
