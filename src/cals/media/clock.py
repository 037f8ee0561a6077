"""Repair of time stamps: those of the file are made strictly increasing."""

import logging
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median_low

log = logging.getLogger(__name__)

DEFAULT_RATE = Fraction(25)
_MAX_RATE = Fraction(1000)
# A stated rate above this multiple of the measured one is the tick of the file mistaken for the frame duration.
_MAX_STATED_RATIO = Fraction(3, 2)
# Codecs reorder at most this many pictures; a longer step back means that the counter started again.
_RESTART_FRAMES = 16


def choose_rate(*candidates: Fraction | None, measured: Fraction | None = None) -> Fraction:
    """Choose the first plausible candidate that is not far above the measured rate, else that rate, else 25."""
    highest = _MAX_RATE if measured is None else min(_MAX_RATE, measured * _MAX_STATED_RATIO)
    for rate in candidates:
        if rate is not None and 0 < rate <= highest:
            return Fraction(rate)
    return measured or DEFAULT_RATE


def estimate_rate(stamps: Sequence[int], time_base: Fraction) -> Fraction | None:
    """Estimate frames per second from the median step of unordered time stamps; None if there are too few."""
    steps = [after - before for before, after in pairwise(sorted(set(stamps)))]
    return 1 / (median_low(steps) * time_base) if steps else None


class Clock:
    """Strictly increasing time stamps for the pictures of one stream, the file's own where possible.

    A missing stamp becomes the previous one plus a frame. A stamp that repeats or steps back a little becomes the
    previous one plus a tick, so that later pictures keep theirs. A longer jump back (a counter that wrapped, two
    recordings joined) shifts all later stamps.
    """

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.time_base = time_base
        self.step = max(1, round(1 / rate / time_base))
        """Ticks of one frame at the average rate."""
        self.repair_count = 0
        self._last: int | None = None
        self._shift = 0

    def stamp(self, pts: int | None, dts: int | None, duration: int) -> int:
        """Return the time stamp, in ticks, of the next picture in display order."""
        given = pts if pts is not None else dts
        if self._last is None:
            self.repair_count += given is None
            self._last = given or 0
            return self._last
        step = duration if 0 < duration <= 100 * self.step else self.step
        stamp = self._last + step if given is None else given + self._shift
        if stamp <= self._last:
            if self._last - stamp > _RESTART_FRAMES * self.step:
                self._shift += self._last + step - stamp
                stamp = self._last + step
            else:
                stamp = self._last + 1
            given = None
        self.repair_count += given is None
        self._last = stamp
        return stamp

    def report(self, path: Path) -> None:
        """Log how many time stamps were repaired."""
        if self.repair_count:
            log.warning("%s: no usable time stamp at %d of its pictures; gave new ones", path, self.repair_count)
