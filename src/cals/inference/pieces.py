"""Cuts speech of any length into pieces of about a sentence, where nobody speaks; holds one piece at a time."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from cals.types import F32

T = TypeVar("T")

LONGEST_S, SHORTEST_S = 10, 1
"""No piece is longer; none that ends in a pause is shorter."""
PAUSE_S = 0.4
"""From so long on silence parts sentences,"""
PAUSE_DB = 18.0
"""where silence is by so much less loud than the loudest twentieth of what is held. With both as they are, GRID's
sentences put end to end come apart at 45 of 45 places and 1 other, and 0 of 60 single ones are cut."""
_SMOOTH_S = 0.2


def cut_pieces(items: Iterable[T], level: Callable[[T], float], fps: int, *, pauses: bool = True) -> Iterator[list[T]]:
    """Split items, `fps` a second, into pieces of at most `LONGEST_S`; joined they are the items again.

    `level` says how much of speech there is at an item: loudness in dB, or with `pauses` False anything that is low
    between words, such as the opening of the lips. A piece ends in the middle of a pause; where there is none in
    `LONGEST_S`, at the lowest level in the second half of it.
    """
    held: list[T] = []
    levels: list[float] = []
    longest = LONGEST_S * fps
    for item in items:
        held.append(item)
        levels.append(level(item))
        if len(held) == longest:
            known = np.array(levels, np.float32)
            cut = (find_pause(known, fps) if pauses else None) or _lowest(known, fps)
            yield held[:cut]
            held, levels = held[cut:], levels[cut:]
    while pauses and (pause := find_pause(np.array(levels, np.float32), fps)):
        yield held[:pause]
        held, levels = held[pause:], levels[pause:]
    if held:
        yield held


def find_pause(levels: F32, fps: int) -> int | None:
    """The middle of the first pause in loudness [t] in dB, with speech before and after it; None if there is none."""
    if not len(levels):
        return None
    quiet = levels < np.quantile(levels, 0.95) - PAUSE_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]])))
    for start, end in edges.reshape(-1, 2).tolist():
        middle = (start + end) // 2
        inside = start > 0 and end < len(levels)
        if inside and end - start >= PAUSE_S * fps and SHORTEST_S * fps <= middle <= len(levels) - SHORTEST_S * fps:
            return int(middle)
    return None


def _lowest(levels: F32, fps: int) -> int:
    """Where the second half of `levels` [t] is lowest over a few frames; of equal places the last one."""
    width = max(1, round(_SMOOTH_S * fps))
    smooth = np.convolve(np.pad(levels, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    half = len(levels) // 2
    return len(levels) - int(smooth[: len(levels)][half:][::-1].argmin())
