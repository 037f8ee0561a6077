"""Time stamps that are missing, repeated or disordered become strictly growing ones, and the rest stay."""

from fractions import Fraction

import pytest

from cals.media.clock import Clock, choose_rate, estimate_rate

MS = Fraction(1, 1000)


@pytest.mark.parametrize(
    ("stamps", "repaired", "expected"),
    [
        ([0, 40, 80], 0, [0, 40, 80]),
        ([7, 40, 200], 0, [7, 40, 200]),
        ([0, 40, 40, 80], 1, [0, 40, 41, 80]),
        ([0, 80, 40, 120], 1, [0, 80, 81, 120]),
        ([0, None, None, 120], 2, [0, 40, 80, 120]),
        ([None, None, 80], 2, [0, 40, 80]),
        ([90_000, 90_040, 0, 40], 1, [90_000, 90_040, 90_080, 90_120]),
        ([0, 400, 800, 0, 40], 1, [0, 400, 800, 840, 880]),
    ],
)
def test_repair(stamps, repaired, expected):
    clock = Clock(MS, Fraction(25))
    assert [clock.stamp(stamp, None, 0) for stamp in stamps] == expected
    assert clock.repair_count == repaired


def test_missing_stamps_follow_decoding_times_or_durations():
    clock = Clock(MS, Fraction(25))
    assert [clock.stamp(None, dts, 0) for dts in (10, 50)] == [10, 50]
    assert clock.stamp(None, None, 33) == 83


def test_absurd_rates_are_replaced():
    assert choose_rate(None, Fraction(90_000), Fraction(0), Fraction(30)) == 30
    assert choose_rate(None) == 25


def test_a_tick_is_not_taken_for_a_frame():
    measured = estimate_rate([0, 80, 42, 121, 160, 200], MS)
    assert measured == 25
    assert choose_rate(Fraction(1000), measured=measured) == 25
    assert choose_rate(Fraction(1000), Fraction(30000, 1001), measured=measured) == Fraction(30000, 1001)
    assert choose_rate(Fraction(240), measured=estimate_rate([0, 4, 8, 12], MS)) == 240
    assert estimate_rate([7], MS) is None
