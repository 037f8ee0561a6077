"""Playback of a video backwards, and again, without keeping its pictures in memory."""

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

CHUNK, CHUNK_BYTES = 32, 96 << 20
"""Frames held at a time while playing backwards, and the memory for them; fewer frames where they are large."""
MAX_UNSEEKABLE_FRAMES = 512
"""Most frames of a video played backwards without usable time stamps: each chunk is then decoded from the start."""


class Rewinder:
    """Index of the frames of a video (without pixels), from which they can be decoded again."""

    def __init__(self, path: Path, *, keep_going: bool = False) -> None:
        self._path = path
        self._keep_going = keep_going
        self._ticks = array("q")
        self._keys = array("q")
        self._durations = array("q")
        self._time_base = Fraction(1)
        self._cache: list[Frame] = []
        self._chunk = CHUNK
        self._seekable = False
        self._decoder: Decoder | None = None

    def index_frames(self, reader: VideoReader) -> Iterator[Frame]:
        """Yield the frames of `reader` and index them."""
        self._time_base = reader.time_base
        for frame in reader:
            if not self._ticks:
                self._chunk = frame.count_within(CHUNK_BYTES, CHUNK)
            tick = frame.time_s / self._time_base
            if frame.key:
                self._keys.append(frame.index)
            self._ticks.append(int(tick))
            self._durations.append(int(frame.duration_s / self._time_base))
            # A short video is cached completely, a longer one not at all.
            if len(self._cache) == frame.index < self._chunk:
                self._cache.append(frame)
            else:
                self._cache.clear()
            yield frame
        self._seekable = reader.is_seekable

    def __len__(self) -> int:
        return len(self._ticks)

    @property
    def is_reversible(self) -> bool:
        """Whether playing backwards has an acceptable cost: by seeking, or by decoding a short video from its start."""
        return self._seekable or len(self) <= MAX_UNSEEKABLE_FRAMES

    def iterate_backwards(self, first: int, last: int) -> Iterator[Frame]:
        """Yield frames `last`, `last` - 1, ... down to `first`, the same as in the first pass."""
        end = last + 1
        while end > first:
            start = max(first, end - self._chunk)
            frames = self.read_chunk(start, end)
            while frames:  # frees each frame as soon as it is used
                yield frames.pop()
            end = start

    def read_chunk(self, start: int, end: int) -> list[Frame]:
        """Return frames `start` up to but not including `end` as a list."""
        return list(self.iterate_forwards(start, end))

    def iterate_forwards(self, first: int, end: int) -> Iterator[Frame]:
        """Yield frames `first` up to but not including `end`, the same as in the first pass."""
        if len(self._cache) == len(self):
            yield from self._cache[first:end]
            return
        next_index = first
        if self._seekable:
            for frame in self._seek_frames(first, end):
                yield frame
                next_index = frame.index + 1
        if next_index == end:
            return
        # Where seeking fails, frames are counted from the start.
        with VideoReader(self._path, keep_going=self._keep_going, quiet=True) as reader:
            for frame in reader:
                if frame.index >= end:
                    break
                if frame.index >= next_index:
                    yield frame

    def _seek_frames(self, first: int, end: int) -> Iterator[Frame]:
        """Yield the frames that seeking finds, in order, up to the first that it misses; possibly none."""
        # One decoder is reused: PyAV frees a closed one only at the next garbage collection.
        if self._decoder is None:
            self._decoder = Decoder(self._path, keep_going=True)
        decoder, origin = self._decoder, self._decoder.find_first_ticks()
        nearest_key = bisect_right(self._keys, first) - 1
        # Some containers seek inexactly; each attempt starts one key frame earlier.
        for candidate in range(nearest_key, max(nearest_key - 3, -1), -1):
            started, index = False, first
            for decoded in decoder.seek_pictures(origin + self._ticks[self._keys[candidate]]):
                offset = decoded.ticks - origin
                # Pictures before the first key frame may depend on ones that were never decoded.
                started = started or decoded.key
                if not started or offset < self._ticks[index]:
                    continue
                if offset > self._ticks[index]:
                    break
                times = (offset * self._time_base, self._durations[index] * self._time_base)
                yield Frame(decoded.picture, index, *times, key=decoded.key)
                index += 1
                if index == end:
                    return
            if index > first:
                return

    def close(self) -> None:
        """Close the file."""
        if self._decoder is not None:
            self._decoder.close()
