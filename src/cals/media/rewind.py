"""Playing a video backwards, and again, without keeping its pictures."""

import logging
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from cals.media.decoding import Decoder
from cals.media.frame import Frame
from cals.media.reader import VideoReader

log = logging.getLogger(__name__)

CHUNK, CHUNK_BYTES = 32, 128 << 20
"""Pictures kept at a time while playing backwards; fewer where they would take more memory."""
MAX_COUNTED = 512
"""Longest video without usable time stamps that is played backwards, in pictures: each chunk decodes from the start."""


class Rewinder:
    """Remembers where every frame of a video is (not its pixels), and fetches frames again."""

    def __init__(self, path: Path, *, keep_going: bool = False) -> None:
        self._path = path
        self._keep_going = keep_going
        self._ticks = array("q")
        self._keys = array("q")
        self._lengths = array("q")
        self._time_base = Fraction(1)
        self._kept: list[Frame] = []
        self._chunk = CHUNK
        self._seekable = False
        self._decoder: Decoder | None = None

    def first_pass(self, reader: VideoReader) -> Iterator[Frame]:
        """The frames of `reader`, remembering where they are."""
        self._time_base = reader.time_base
        for frame in reader:
            if not self._ticks:
                self._chunk = frame.count_within(CHUNK_BYTES, CHUNK)
            tick = frame.time_s / self._time_base
            if frame.key:
                self._keys.append(frame.index)
            self._ticks.append(int(tick))
            self._lengths.append(int(frame.duration_s / self._time_base))
            # A short video is kept whole, a longer one not at all.
            if len(self._kept) == frame.index < self._chunk:
                self._kept.append(frame)
            else:
                self._kept.clear()
            yield frame
        self._seekable = reader.seekable

    def __len__(self) -> int:
        return len(self._ticks)

    @property
    def reversible(self) -> bool:
        """Whether playing backwards costs no more than it should: by seeking, or by counting through a short video."""
        return self._seekable or len(self) <= MAX_COUNTED

    def backwards(self, first: int, last: int) -> Iterator[Frame]:
        """Frames `last`, `last` - 1, ... down to `first`, as they were the first time."""
        end = last + 1
        while end > first:
            start = max(first, end - self._chunk)
            frames = self.chunk(start, end)
            while frames:  # none is held longer than it is needed
                yield frames.pop()
            end = start

    def chunk(self, start: int, end: int) -> list[Frame]:
        """Frames `start` up to but not including `end`, all at once."""
        return list(self.forwards(start, end))

    def forwards(self, first: int, end: int) -> Iterator[Frame]:
        """Frames `first` up to but not including `end`, as they were the first time."""
        if len(self._kept) == len(self):
            yield from self._kept[first:end]
            return
        done = first
        if self._seekable:
            for frame in self._sought(first, end):
                yield frame
                done = frame.index + 1
        if done == end:
            return
        # Where seeking cannot be trusted, counting from the start can.
        with VideoReader(self._path, keep_going=self._keep_going, quiet=True) as reader:
            for frame in reader:
                if frame.index >= end:
                    break
                if frame.index >= done:
                    yield frame

    def _sought(self, first: int, end: int) -> Iterator[Frame]:
        """The frames as far as seeking finds them, in order; possibly none."""
        # One decoder for all: PyAV frees a closed one only when Python next collects its garbage.
        if self._decoder is None:
            self._decoder = Decoder(self._path, keep_going=True)
        decoder, origin = self._decoder, self._decoder.origin()
        place = bisect_right(self._keys, first) - 1
        # Some containers seek to somewhere near; each round starts one key frame earlier.
        for before in range(place, max(place - 3, -1), -1):
            began, index = False, first
            for stamped in decoder.from_near(origin + self._ticks[self._keys[before]]):
                offset = stamped.ticks - origin
                # Pictures before the first key frame may lean on ones that were never decoded.
                began = began or stamped.key
                if not began or offset < self._ticks[index]:
                    continue
                if offset > self._ticks[index]:
                    break
                times = (offset * self._time_base, self._lengths[index] * self._time_base)
                yield Frame(stamped.picture, index, *times, key=stamped.key)
                index += 1
                if index == end:
                    return
            if index > first:
                return

    def close(self) -> None:
        """Release the file."""
        if self._decoder is not None:
            self._decoder.close()
