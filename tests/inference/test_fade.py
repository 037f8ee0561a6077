import dataclasses
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from cals.inference.fade import strengths
from cals.types import TrackedFace


def faces(pattern: str, rate: int = 25) -> list[TrackedFace]:
    """`x` a face, `.` none, `|` a face that starts a shot, `!` a faceless frame that starts a shot."""
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


def run(pattern: str) -> list[float]:
    items = faces(pattern)
    done = list(strengths(items, lambda face: face, lambda face: face.time_s + Fraction(1, 25)))
    assert [face.index for face, _ in done] == list(range(len(items)))  # order kept, nothing lost
    return [strength for _, strength in done]


def test_full_strength_without_gaps() -> None:
    assert run("x" * 20) == [1.0] * 20


def test_fades_out_and_in_around_a_gap() -> None:
    found = run("x" * 10 + "..." + "x" * 10)
    assert found[:6] == [1.0] * 6
    assert found[10:13] == [0.0] * 3
    assert found[17:] == [1.0] * 6
    assert all(a > b for a, b in pairwise(found[5:11]))
    assert found[6:10] == pytest.approx(found[13:17][::-1])


def test_a_short_stay_between_gaps_never_jumps() -> None:
    found = run("..xxx..")
    assert max(found) < 1.0
    assert found[2] == found[4] < found[3]


def test_a_cut_is_a_hard_edge() -> None:
    assert run("xxxx!..") == [1.0] * 4 + [0.0] * 3
    assert run("...|xxx") == [0.0] * 3 + [1.0] * 4


def test_look_ahead_is_bounded() -> None:
    taken = 0

    def source() -> object:
        nonlocal taken
        for face in faces("x" * 1000):
            taken += 1
            yield face

    stream = strengths(source(), lambda face: face, lambda face: face.time_s + Fraction(1, 25))
    for done in range(1, 900):
        next(stream)
        assert taken - done <= 7  # 0.2 s at 25 frames/s, and the frame in hand


def test_a_long_frame_without_a_face_is_a_gap_to_its_end() -> None:
    first, second, third = faces("x.x")
    second = dataclasses.replace(second, time_s=Fraction(1))
    third = dataclasses.replace(third, time_s=Fraction(3))
    ends = {0: Fraction(1), 1: Fraction(3), 2: Fraction(3) + Fraction(1, 25)}
    found = [strength for _, strength in strengths([first, second, third], lambda f: f, lambda f: ends[f.index])]
    assert found[0] == 1.0  # a whole second before the gap
    assert found[1] == 0.0
    assert 0 < found[2] < 0.2  # and right after it
