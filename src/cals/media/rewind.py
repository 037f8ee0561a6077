"""Playing a video backwards, and again, without keeping its pictures."""

import logging
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

from cals.media.decoding import Decoder
from cals.media.frame import Frame
from cals.media.reader import VideoReader

log = logging.getLogger(__name__)

CHUNK = 32
"""Pictures kept at a time while playing backwards."""


class Rewinder:
    """Remembers where every frame of a video is (not its pixels), and fetches frames again in any order of chunks."""

    def __init__(self, path: Path, *, keep_going: bool = False) -> None:
        self._path = path
        self._keep_going = keep_going
        self._ticks = array("q")
        self._keys = array("q")
        self._lengths = array("q")
        self._time_base = Fraction(1)
        self._kept: list[Frame] = []
        self._seekable = False

    def first_pass(self, reader: VideoReader) -> Iterator[Frame]:
        """The frames of `reader`, remembering where they are."""
        self._time_base = reader.time_base
        for frame in reader:
            tick = frame.time_s / self._time_base
            if frame.key:
                self._keys.append(frame.index)
            self._ticks.append(int(tick))
            self._lengths.append(int(frame.duration_s / self._time_base))
            # A short video is kept whole, a longer one not at all.
            if len(self._kept) == frame.index < CHUNK:
                self._kept.append(frame)
            else:
                self._kept.clear()
            yield frame
        self._seekable = reader.seekable

    def __len__(self) -> int:
        return len(self._ticks)

    def backwards(self, first: int, last: int) -> Iterator[Frame]:
        """Frames `last`, `last` - 1, ... down to `first`, as they were the first time."""
        end = last + 1
        while end > first:
            start = max(first, end - CHUNK)
            yield from reversed(self.chunk(start, end))
            end = start

    def forwards(self, first: int, end: int) -> Iterator[Frame]:
        """Frames `first` up to but not including `end`, as they were the first time."""
        if len(self._kept) == len(self):
            yield from self._kept[first:end]
            return
        with VideoReader(self._path, keep_going=self._keep_going) as reader:
            for frame in reader:
                if frame.index >= end:
                    return
                if frame.index >= first:
                    yield frame

    def chunk(self, start: int, end: int) -> list[Frame]:
        """Frames `start` up to but not including `end`, decoded from the key frame before them."""
        if len(self._kept) == len(self):
            return self._kept[start:end]
        found = self._sought(start, end) if self._seekable else None
        if found is None:
            found = list(self.forwards(start, end))
        return found

    def _sought(self, start: int, end: int) -> list[Frame] | None:
        """The chunk by seeking, or None where the file's time stamps cannot be trusted for that."""
        wanted = {self._ticks[index]: index for index in range(start, end)}
        place = bisect_right(self._keys, start) - 1
        # Some containers seek to somewhere near; each round starts one key frame earlier.
        for before in range(place, max(place - 3, -1), -1):
            found: dict[int, Frame] = {}
            with closing(Decoder(self._path, keep_going=True)) as decoder:
                ticks = decoder.origin() + self._ticks[self._keys[before]]
                began = False
                for stamped in decoder.from_near(ticks):
                    offset = stamped.ticks - decoder.origin()
                    # Pictures before the first key frame may lean on ones that were never decoded.
                    began = began or stamped.key
                    if began and offset in wanted:
                        index = wanted[offset]
                        found[index] = Frame(
                            stamped.picture,
                            index,
                            offset * self._time_base,
                            self._lengths[index] * self._time_base,
                            key=stamped.key,
                        )
                    if offset >= self._ticks[end - 1]:
                        break
            if len(found) == end - start:
                return [found[index] for index in range(start, end)]
        return None
