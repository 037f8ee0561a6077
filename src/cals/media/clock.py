"""Time stamps as files have them to time stamps that always grow."""

import logging
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median_low

log = logging.getLogger(__name__)

DEFAULT_RATE = Fraction(25)
_MAX_RATE = Fraction(1000)
# Over the measured rate by more than this, a stated one is the tick of the file taken for the length of a frame.
_OVERSTATED = Fraction(3, 2)
# Pictures come disordered by as many as a codec reorders; beyond that the counter itself started again.
_RESTART_FRAMES = 16


def plausible_rate(*candidates: Fraction | None, measured: Fraction | None = None) -> Fraction:
    """The first candidate that can be a frame rate and is not far over the measured one, else that, else 25."""
    highest = _MAX_RATE if measured is None else min(_MAX_RATE, measured * _OVERSTATED)
    for rate in candidates:
        if rate is not None and 0 < rate <= highest:
            return Fraction(rate)
    return measured or DEFAULT_RATE


def measured_rate(stamps: Sequence[int], time_base: Fraction) -> Fraction | None:
    """Frames a second by the median step between time stamps, in any order; None where they tell nothing."""
    steps = [after - before for before, after in pairwise(sorted(set(stamps)))]
    return 1 / (median_low(steps) * time_base) if steps else None


class Clock:
    """Gives every picture of one stream a strictly growing time stamp, the file's own wherever that works.

    Missing stamps follow the previous one by a frame; stamps that repeat or step back a little move one
    tick after the previous one, so later pictures stay in place; a longer jump back (a counter that wrapped,
    two recordings joined) shifts everything after it.
    """

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.time_base = time_base
        self.step = max(1, round(1 / rate / time_base))
        """Ticks of one frame at the average rate."""
        self.repaired = 0
        self._last: int | None = None
        self._shift = 0

    def stamp(self, pts: int | None, dts: int | None, duration: int) -> int:
        """The time stamp, in ticks, of the next picture in display order."""
        found = pts if pts is not None else dts
        if self._last is None:
            self.repaired += found is None
            self._last = found or 0
            return self._last
        step = duration if 0 < duration <= 100 * self.step else self.step
        stamp = self._last + step if found is None else found + self._shift
        if stamp <= self._last:
            if self._last - stamp > _RESTART_FRAMES * self.step:
                self._shift += self._last + step - stamp
                stamp = self._last + step
            else:
                stamp = self._last + 1
            found = None
        self.repaired += found is None
        self._last = stamp
        return stamp

    def report(self, path: Path) -> None:
        """Log how many time stamps had to be made up."""
        if self.repaired:
            log.warning("%s: %d pictures had no usable time stamp; gave them new ones", path, self.repaired)
