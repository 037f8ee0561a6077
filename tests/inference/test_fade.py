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
    done = list(strengths(items, lambda face: face))
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

    stream = strengths(source(), lambda face: face)
    for done in range(1, 900):
        next(stream)
        assert taken - done <= 7  # 0.2 s at 25 frames/s, and the frame in hand
