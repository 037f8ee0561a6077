"""The rules that pick one of several faces, and their spelling."""

from fractions import Fraction

import pytest

from cals.errors import ConfigError
from cals.face.person import Person, parse_person
from cals.types import Box

LEFT, MIDDLE, RIGHT = Box(10, 50, 60, 110), Box(200, 40, 300, 160), Box(500, 60, 560, 130)
BACKGROUND = Box(400, 10, 420, 34)
BOXES = [RIGHT, BACKGROUND, LEFT, MIDDLE]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("largest", MIDDLE),
        ("left", LEFT),
        (" Right ", RIGHT),
        ("1", LEFT),
        ("2", MIDDLE),
        ("3", RIGHT),
        ("35,80@0", LEFT),
        ("530.5, 90.25 @ 1.5", RIGHT),
        ("410,20@2s", BACKGROUND),
    ],
)
def test_every_rule(text: str, expected: Box) -> None:
    chosen = parse_person(text).choose(BOXES)
    assert chosen is not None
    assert BOXES[chosen] == expected


@pytest.mark.parametrize("text", ["4", "35,300@0"])
def test_a_person_who_is_not_there(text: str) -> None:
    assert parse_person(text).choose(BOXES) is None
    assert parse_person("largest").choose([]) is None


def test_fractional_seconds_are_exact() -> None:
    person = parse_person("12.5,30@1.04")
    assert (person.x, person.y, person.time_s) == (12.5, 30.0, Fraction(26, 25))


@pytest.mark.parametrize("text", ["", "0", "-1", "biggest", "10,20", "10@3", "1.5", "a,b@c", "1,2@-3", "1,2@"])
def test_other_words_are_refused_with_the_valid_forms(text: str) -> None:
    with pytest.raises(ConfigError, match=r"largest, left, right, .*x,y@seconds"):
        parse_person(text)


def test_numbers_start_at_one() -> None:
    with pytest.raises(ConfigError, match="from 1"):
        Person(kind="number", number=0)
