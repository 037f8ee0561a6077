from fractions import Fraction

import pytest

from cals.errors import ConfigError
from cals.timing import AVTiming, count_ticks


def test_published_rates() -> None:
    timing = AVTiming()
    assert timing.mels_per_frame == 4
    assert timing.samples_per_frame == 640


def test_rates_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match="whole number of mel frames"):
        AVTiming(hop=200, fps=30)
    with pytest.raises(ConfigError, match="positive"):
        AVTiming(fps=0)


def test_units_stand_at_frame_middles() -> None:
    timing = AVTiming()
    assert [timing.to_unit_position(Fraction(i, 25) + Fraction(1, 50)) for i in range(3)] == [0, 1, 2]
    # A frame of 29.97 video an hour in falls exactly where its time says, not where a rounded rate would.
    hour = 107_892
    middle = Fraction(hour * 1001, 30000) + Fraction(1001, 60000)
    assert timing.to_unit_position(middle) == Fraction(2 * hour + 1, 2) * Fraction(1001, 30000) * 25 - Fraction(1, 2)


@pytest.mark.parametrize("fps", [24, 25])
def test_ticks_have_their_middle_before_the_end(fps: int) -> None:
    for end_s in (Fraction(number, 1000) for number in range(1, 400, 7)):
        middles = [Fraction(2 * tick + 1, 2 * fps) for tick in range(20)]
        assert count_ticks(end_s, fps) == sum(middle < end_s for middle in middles)
    assert count_ticks(Fraction(1, 50), 25) == 0  # not at the end itself
