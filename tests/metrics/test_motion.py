"""Curves and landmarks whose likeness is known."""

import math

import numpy as np
import pytest

from cals.face.landmarks import MOUTH_68, MOUTH_INNER, MOUTH_OUTER
from cals.metrics.landmarks import landmark_distance
from cals.metrics.motion import correlation, jitter, leak, span_ratio

RNG = np.random.default_rng(5)


def test_correlation_is_pearsons() -> None:
    a, b = RNG.normal(size=80), RNG.normal(size=80)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation(a, 3 * a + 1) == pytest.approx(1.0)
    assert correlation(a, -a) == pytest.approx(-1.0)


def test_a_mouth_that_does_not_move_correlates_with_nothing() -> None:
    assert correlation(np.full(50, 0.3), RNG.normal(size=50)) == 0.0


def test_span_is_the_ratio_of_the_swings() -> None:
    real = RNG.normal(size=60)
    assert span_ratio(0.5 * real + 7, real) == pytest.approx(0.5)
    assert span_ratio(np.zeros(60), real) == 0.0
    assert math.isnan(span_ratio(real, np.zeros(60)))


def test_jitter_of_some_frames_only() -> None:
    real = RNG.normal(size=(30, 20, 2))
    generated = 2 * real
    generated[20:] *= 50
    counts = np.arange(28) < 18
    assert jitter(generated, real, counts) == pytest.approx(2.0)
    assert math.isnan(jitter(generated, real, np.zeros(28, bool)))


def test_leak_is_what_the_face_adds_to_what_the_mouths_share() -> None:
    time = np.arange(100) * 2 * np.pi / 100
    face_motion, other = np.sin(time), np.cos(time)  # of correlation 0
    target = face_motion + other  # really shares 1/sqrt(2) with `own`
    assert leak(target, face_motion, target) == pytest.approx(0.0)
    assert leak(face_motion, face_motion, target) == pytest.approx(1 - math.sqrt(0.5))
    assert leak(face_motion + other, face_motion, other) == pytest.approx(math.sqrt(0.5))


def test_landmark_distance_ignores_where_the_mouth_is() -> None:
    real = RNG.normal(size=(30, 20, 2)) * 10
    moved = real + RNG.normal(size=(30, 1, 2)) * 50
    assert landmark_distance(moved, real) == pytest.approx(0.0, abs=1e-9)


def test_landmark_distance_is_in_pixels() -> None:
    real = np.zeros((2, 4, 2))
    generated = real.copy()
    # two points 3 right and 4 down, two as far the other way: the mean place stays, every point is 5 off
    generated[:, :2] += (3, 4)
    generated[:, 2:] -= (3, 4)
    assert landmark_distance(generated, real) == pytest.approx(5.0)
    generated[1] = 0  # the mean over frames
    assert landmark_distance(generated, real) == pytest.approx(2.5)


def test_jitter_is_the_ratio_of_second_differences() -> None:
    real = RNG.normal(size=(40, 6, 2))
    drift = np.arange(40)[:, None, None] * np.array([2.0, -1.0])  # an even motion is no trembling
    assert jitter(3 * real + drift, real) == pytest.approx(3.0)
    assert jitter(drift + np.zeros((40, 6, 2)), real) == pytest.approx(0.0, abs=1e-9)
    assert math.isnan(jitter(real, np.zeros((40, 6, 2))))


def test_jitter_in_closed_form() -> None:
    zigzag = np.zeros((9, 1, 2))
    zigzag[1::2] = (3, 4)  # second differences of twice 5
    parabola = np.zeros((9, 1, 2))
    parabola[:, 0, 0] = np.arange(9) ** 2  # second differences of 2
    assert jitter(zigzag, parabola) == pytest.approx(5.0)
    with pytest.raises(ValueError, match="3 frames or more"):
        jitter(zigzag[:2], parabola[:2])


def test_the_mouth_has_twenty_points_in_68_point_order() -> None:
    """Points 48..59 go round the outer lips from the left corner over the top, 60..67 round the inner ones."""
    outer, inner = MOUTH_68[:12], MOUTH_68[12:]
    assert len(MOUTH_68) == len(set(MOUTH_68)) == 20
    assert [MOUTH_OUTER.index(point) for point in outer] == sorted(MOUTH_OUTER.index(point) for point in outer)
    assert [MOUTH_INNER.index(point) for point in inner] == sorted(MOUTH_INNER.index(point) for point in inner)
    assert (outer[0], outer[6], inner[0], inner[4]) == (61, 291, 78, 308)  # the corners: 48, 54, 60, 64
    assert (outer[3], outer[9], inner[2], inner[6]) == (0, 17, 13, 14)  # the middles: 51, 57, 62, 66
