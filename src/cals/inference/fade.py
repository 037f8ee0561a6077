"""Blend strength of each frame: 1, except near a gap, where generation fades out and in."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

from cals.inference.frame_tracker import TrackedFrame
from cals.types import TrackedFace

T = TypeVar("T")
FADE_S = Fraction(1, 5)


def compute_strengths(
    items: Iterable[T],
    face_of: Callable[[T], TrackedFace],
    end_of: Callable[[T], Fraction],
    fade_s: Fraction = FADE_S,
    is_drawn: Callable[[T], bool] | None = None,
) -> Iterator[tuple[T, float]]:
    """Yield each item with its strength: 0 in a gap, rising to 1 `fade_s` away from it; a cut is a hard edge.

    A gap is where there is no face, or where `is_drawn` is False. An item is shown from its face's time until
    `end_of` it. The look-ahead is `fade_s`, so memory does not grow with the length of the stream.
    """
    pending: deque[tuple[T, Fraction | None]] = deque()  # an item, and when the gap before it ended
    gap_s: Fraction | None = None  # when the last gap in this shot ended

    def release(after_s: Fraction | None, until_s: Fraction | None = None) -> Iterator[tuple[T, float]]:
        while pending and (until_s is None or face_of(pending[0][0]).time_s < until_s):
            item, before_s = pending.popleft()
            # A frame is as far from the gap before it as its end, and from the one after it as its start.
            distances = [] if before_s is None else [end_of(item) - before_s]
            distances += [] if after_s is None else [after_s - face_of(item).time_s]
            yield item, smooth_step(min([*distances, fade_s]) / fade_s)

    for item in items:
        face = face_of(item)
        if face.cut:
            yield from release(None)
            gap_s = None
        if face.valid if is_drawn is None else is_drawn(item):
            yield from release(None, until_s=face.time_s - fade_s)
            pending.append((item, gap_s))
        else:
            yield from release(face.time_s)
            gap_s = end_of(item)
            yield item, 0.0
    yield from release(None)


def smooth_step(share: Fraction | float) -> float:
    """Return a weight that rises from 0 to 1 with `share`, smooth at both ends and constant beyond them."""
    share = min(max(share, 0), 1)
    return float(share * share * (3 - 2 * share))


def compute_frame_strengths(
    items: Iterable[TrackedFrame], is_drawn: Callable[[TrackedFrame], bool]
) -> Iterator[tuple[TrackedFrame, float]]:
    """Yield tracked frames with their strengths, as `compute_strengths` does."""
    return compute_strengths(
        items, lambda item: item.face, lambda item: item.frame.time_s + item.frame.duration_s, is_drawn=is_drawn
    )
