"""How strongly each frame is changed: fully, except near a gap, where generation fades out and in."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

from cals.types import TrackedFace

T = TypeVar("T")
FADE_S = Fraction(1, 5)


def strengths(
    items: Iterable[T], face_of: Callable[[T], TrackedFace], fade_s: Fraction = FADE_S
) -> Iterator[tuple[T, float]]:
    """Each item with its strength: 0 in a gap, rising to 1 `fade_s` away from it; a cut is a hard edge.

    Looks ahead by `fade_s` only, so that a stream of any length passes through.
    """
    waiting: deque[tuple[T, Fraction, Fraction | None]] = deque()  # item, its time, the gap's time before it
    gap_s: Fraction | None = None  # the last faceless time in this shot

    def released(after_s: Fraction | None, until_s: Fraction | None = None) -> Iterator[tuple[T, float]]:
        while waiting and (until_s is None or waiting[0][1] < until_s):
            item, time_s, before_s = waiting.popleft()
            distances = [abs(time_s - gap) for gap in (before_s, after_s) if gap is not None]
            nearness = min([*distances, fade_s]) / fade_s
            yield item, float(nearness * nearness * (3 - 2 * nearness))  # smooth at both ends

    for item in items:
        face = face_of(item)
        if face.cut:
            yield from released(None)
            gap_s = None
        if face.valid:
            yield from released(None, until_s=face.time_s - fade_s)
            waiting.append((item, face.time_s, gap_s))
        else:
            yield from released(face.time_s)
            gap_s = face.time_s
            yield item, 0.0
    yield from released(None)
