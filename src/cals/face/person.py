"""Selection of one of several faces: the `--person` option."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from cals.errors import ConfigError
from cals.types import Box

_FORMS = "largest, left, right, a number counted from the left (1, 2, ...) or x,y@seconds (640,360@1.5)"
_NUMBER = r"\d+(?:\.\d+)?"
_MIN_RELATIVE_SIZE = 0.35
"""Faces smaller than this share of the largest one are background: left, right and N skip them."""
MAX_POINT_DISTANCE = 1.0
"""A point selects a face if it lies within this many face sizes of its middle."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """A rule that selects one face; `number` is for "number" only, `x`, `y`, `time_s` for "point" only."""

    kind: Literal["largest", "left", "right", "number", "point"] = "largest"
    number: int = 1
    x: float = 0.0
    y: float = 0.0
    time_s: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ConfigError(f"person: expected a number from 1 on, found {self.number}")

    def choose(self, boxes: Sequence[Box]) -> int | None:
        """Return the index of the selected face among those visible, None if it is not there."""
        if not boxes:
            return None
        sizes = np.array([max(box.width, box.height) for box in boxes], dtype=np.float64)
        centres = np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2] for box in boxes])
        if self.kind == "largest":
            return int(sizes.argmax())
        if self.kind == "point":
            distances = np.hypot(*(centres - (self.x, self.y)).T) / sizes
            best = int(distances.argmin())
            return best if distances[best] <= MAX_POINT_DISTANCE else None
        order = [int(i) for i in np.argsort(centres[:, 0]) if sizes[i] >= _MIN_RELATIVE_SIZE * sizes.max()]
        if self.kind == "number":
            return order[self.number - 1] if self.number <= len(order) else None
        return order[0] if self.kind == "left" else order[-1]


def parse_person(text: str) -> Person:
    """Parse a `--person` value; raises ConfigError that lists the valid forms."""
    value = text.strip().lower()
    if value == "largest":
        return Person(kind="largest")
    if value == "left":
        return Person(kind="left")
    if value == "right":
        return Person(kind="right")
    if re.fullmatch(r"[1-9]\d*", value):
        return Person(kind="number", number=int(value))
    point = re.fullmatch(rf"({_NUMBER})\s*,\s*({_NUMBER})\s*@\s*({_NUMBER})s?", value)
    if point:
        x, y, seconds = point.groups()
        return Person(kind="point", x=float(x), y=float(y), time_s=Fraction(seconds))
    raise ConfigError(f"person: expected {_FORMS}, found {text!r}")
