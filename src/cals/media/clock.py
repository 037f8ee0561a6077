"""Time stamps as files have them to time stamps that always grow."""

import logging
from fractions import Fraction
from pathlib import Path

log = logging.getLogger(__name__)

DEFAULT_RATE = Fraction(25)
_MAX_RATE = Fraction(1000)
# Pictures come disordered by as many as a codec reorders; beyond that the counter itself started again.
_RESTART_FRAMES = 16


def plausible_rate(*candidates: Fraction | None) -> Fraction:
    """The first candidate that can be a frame rate, else 25."""
    for rate in candidates:
        if rate is not None and 0 < rate <= _MAX_RATE:
            return Fraction(rate)
    return DEFAULT_RATE


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
