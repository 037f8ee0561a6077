import dataclasses
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from cals.inference.fade import compute_strengths
from cals.types import TrackedFace


def build_faces(pattern: str, rate: int = 25) -> list[TrackedFace]:
    """Build faces: `x` a face, `.` none, `|` a face that starts a shot, `!` a faceless frame that starts a shot."""
    return [
        TrackedFace(
            index=i,
            time_s=Fraction(i, rate),
            valid=mark in "x|",
            track=0,
            cut=mark in "|!",
            score=1.0,
            box=None,
            landmarks=np.zeros((0, 3), np.float32),
        )
        for i, mark in enumerate(pattern)
    ]


def compute(pattern: str) -> list[float]:
    items = build_faces(pattern)
    result = list(compute_strengths(items, lambda face: face, lambda face: face.time_s + Fraction(1, 25)))
    assert [face.index for face, _ in result] == list(range(len(items)))  # order kept, nothing lost
    return [strength for _, strength in result]


def test_full_strength_without_gaps() -> None:
    assert compute("x" * 20) == [1.0] * 20


def test_fades_out_and_in_around_a_gap() -> None:
    values = compute("x" * 10 + "..." + "x" * 10)
    assert values[:6] == [1.0] * 6
    assert values[10:13] == [0.0] * 3
    assert values[17:] == [1.0] * 6
    assert all(a > b for a, b in pairwise(values[5:11]))
    assert values[6:10] == pytest.approx(values[13:17][::-1])


def test_a_short_stay_between_gaps_never_jumps() -> None:
    values = compute("..xxx..")
    assert max(values) < 1.0
    assert values[2] == values[4] < values[3]


def test_a_cut_is_a_hard_edge() -> None:
    assert compute("xxxx!..") == [1.0] * 4 + [0.0] * 3
    assert compute("...|xxx") == [0.0] * 3 + [1.0] * 4


def test_look_ahead_is_bounded() -> None:
    taken = 0

    def iterate_faces() -> object:
        nonlocal taken
        for face in build_faces("x" * 1000):
            taken += 1
            yield face

    stream = compute_strengths(iterate_faces(), lambda face: face, lambda face: face.time_s + Fraction(1, 25))
    for count in range(1, 900):
        next(stream)
        assert taken - count <= 7  # 0.2 s at 25 frames/s, and the frame in hand


def test_a_long_frame_without_a_face_is_a_gap_to_its_end() -> None:
    first, second, third = build_faces("x.x")
    second = dataclasses.replace(second, time_s=Fraction(1))
    third = dataclasses.replace(third, time_s=Fraction(3))
    ends = {0: Fraction(1), 1: Fraction(3), 2: Fraction(3) + Fraction(1, 25)}
    values = [
        strength for _, strength in compute_strengths([first, second, third], lambda f: f, lambda f: ends[f.index])
    ]
    assert values[0] == 1.0  # a whole second before the gap
    assert values[1] == 0.0
    assert 0 < values[2] < 0.2  # and right after it
