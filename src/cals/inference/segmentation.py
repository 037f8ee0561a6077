"""Segmentation of speech at pauses into pieces of about a sentence; one piece at a time is held in memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from cals.types import F32

T = TypeVar("T")

MAX_SEGMENT_S, MIN_SEGMENT_S = 10, 1
"""Length of the longest piece, and of the shortest that ends in a pause."""
PAUSE_S = 0.4
"""The shortest silence that separates sentences."""
PAUSE_DB = 18.0
"""How far silence lies below the loudest twentieth of the levels held. With these two values GRID's sentences, put
end to end, are split at 45 of 45 joins and 1 other place, and 0 of 60 single sentences are cut."""
_SMOOTH_S = 0.2


def split_segments(
    items: Iterable[T], level: Callable[[T], float], fps: int, *, pauses: bool = True
) -> Iterator[list[T]]:
    """Split items, `fps` a second, into pieces of at most `MAX_SEGMENT_S`; concatenated they are the items again.

    `level` measures speech at an item: loudness in dB, or with `pauses` False anything that is low between words,
    such as the opening of the lips. A piece ends in the middle of a pause. Where `MAX_SEGMENT_S` has no pause, it ends
    at the lowest level in the second half.
    """
    pending: list[T] = []
    levels: list[float] = []
    max_length = MAX_SEGMENT_S * fps
    for item in items:
        pending.append(item)
        levels.append(level(item))
        if len(pending) == max_length:
            level_array = np.array(levels, np.float32)
            cut = (find_pause(level_array, fps) if pauses else None) or _find_quietest(level_array, fps)
            yield pending[:cut]
            pending, levels = pending[cut:], levels[cut:]
    while pauses and (pause := find_pause(np.array(levels, np.float32), fps)):
        yield pending[:pause]
        pending, levels = pending[pause:], levels[pause:]
    if pending:
        yield pending


def find_pause(levels: F32, fps: int) -> int | None:
    """Return the middle of the first pause in loudness [t] in dB that has speech before and after it, or None."""
    if not len(levels):
        return None
    is_quiet = levels < np.quantile(levels, 0.95) - PAUSE_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_quiet, [False]])))
    for start, end in edges.reshape(-1, 2).tolist():
        middle = (start + end) // 2
        has_speech_around = start > 0 and end < len(levels)
        if (
            has_speech_around
            and end - start >= PAUSE_S * fps
            and MIN_SEGMENT_S * fps <= middle <= len(levels) - MIN_SEGMENT_S * fps
        ):
            return int(middle)
    return None


def _find_quietest(levels: F32, fps: int) -> int:
    """Return the index in the second half of `levels` [t] that is lowest over a few frames; the last one of equals."""
    width = max(1, round(_SMOOTH_S * fps))
    smooth = np.convolve(np.pad(levels, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    middle = len(levels) // 2
    return len(levels) - int(smooth[: len(levels)][middle:][::-1].argmin())
