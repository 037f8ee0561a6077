"""A mouth is generated in its spans only, and fades within them."""

from fractions import Fraction

import pytest

from cals.inference.schedule import EDGE_FADE_S, Schedule, Span

RATE = 25


def build_schedule(*spans: tuple[float, float]) -> Schedule:
    return Schedule(Span(start_s=Fraction(str(start)), end_s=Fraction(str(end))) for start, end in spans)


def list_weights(schedule: Schedule, seconds: int) -> list[float]:
    return [schedule.compute_weight(Fraction(k, RATE), Fraction(k + 1, RATE)) for k in range(seconds * RATE)]


def test_weight_is_zero_outside_one_inside_and_rises_without_a_jump() -> None:
    weights = list_weights(build_schedule((1, 2)), 3)
    assert not any(weights[:25] + weights[50:])
    fade = int(EDGE_FADE_S * RATE)
    assert all(weight == 1 for weight in weights[25 + fade : 50 - fade])
    rise, fall = weights[25 : 25 + fade], weights[50 - fade : 50]
    assert rise == sorted(rise)
    assert rise == pytest.approx(fall[::-1])
    assert 0 < rise[0] < 0.5


def test_spans_that_touch_are_one_and_others_are_not() -> None:
    joined, apart = list_weights(build_schedule((1, 2), (0, 1)), 3), list_weights(build_schedule((0, 1), (1.08, 2)), 3)
    assert joined[20:30] == [1.0] * 10
    assert apart[25] == apart[26] == 0 < apart[27]


def test_a_frame_counts_by_its_start() -> None:
    schedule = build_schedule((1, 2))
    assert schedule.compute_weight(Fraction(99, 100), Fraction(3, 2)) == 0  # shown before the span, so it stays
    assert schedule.compute_weight(Fraction(2), Fraction(3)) == 0
    assert schedule.compute_weight(Fraction(3, 2), Fraction(4)) == 1


def test_strength_is_that_of_the_span_at_the_time() -> None:
    schedule = Schedule(
        [
            Span(start_s=Fraction(2), end_s=Fraction(3), strength=0.7),
            Span(start_s=Fraction(0), end_s=Fraction(1), strength=1.2),
        ]
    )
    assert [schedule.get_strength(Fraction(t, 10)) for t in (0, 9, 15, 20, 99)] == [1.2, 1.2, 1.2, 0.7, 0.7]
