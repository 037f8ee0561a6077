"""Lips that close at known moments."""

import math

import numpy as np
import pytest

from cals.metrics.closures import MAX_CLOSED_OPENING, closure_rate

TIMES_S = (np.arange(50) + 0.5) / 25
OPEN = np.full(50, 0.2)


def test_lips_have_to_close_within_the_phone_and_40_ms_around() -> None:
    opening = OPEN.copy()
    opening[10] = 0.01  # its middle is at 0.42 s
    assert closure_rate(opening, TIMES_S, [(0.40, 0.45)]) == 1
    assert closure_rate(opening, TIMES_S, [(0.45, 0.50)]) == 1
    assert closure_rate(opening, TIMES_S, [(0.47, 0.50)]) == 0
    assert closure_rate(opening, TIMES_S, [(0.40, 0.45), (1.0, 1.1), (1.2, 1.3)]) == pytest.approx(1 / 3)


def test_closed_is_a_share_of_the_median() -> None:
    opening = OPEN.copy()
    opening[10] = 0.2 * MAX_CLOSED_OPENING + 0.001
    assert closure_rate(opening, TIMES_S, [(0.40, 0.45)]) == 0
    opening[10] = 0.2 * MAX_CLOSED_OPENING - 0.001
    assert closure_rate(opening, TIMES_S, [(0.40, 0.45)]) == 1
    assert closure_rate(np.zeros(50), TIMES_S, [(0.40, 0.45)]) == 0  # a mouth that never moves closes nowhere


def test_what_nobody_sees_is_not_counted() -> None:
    use = TIMES_S > 1
    assert closure_rate(OPEN[use], TIMES_S[use], [(0.4, 0.5), (1.5, 1.6)]) == 0
    assert math.isnan(closure_rate(OPEN[use], TIMES_S[use], [(0.4, 0.5)]))
    assert math.isnan(closure_rate(OPEN, TIMES_S, []))
    assert math.isnan(closure_rate(OPEN[:0], TIMES_S[:0], [(0.4, 0.5)]))
