"""Where frames come from: a file that is opened once to see what it is and read as often as needed, or arrays."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from cals.errors import MediaError
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.media.reader import VideoReader
from cals.media.timeline import fit_length
from cals.options import LengthPolicy
from cals.types import U8


class FrameSource(Protocol):
    """Frames that can be read again."""

    path: Path
    """What messages call it."""

    @property
    def is_photo(self) -> bool: ...

    @property
    def rate(self) -> Fraction:
        """Frames a second, the mean where it varies."""
        ...

    def open(self, *, quiet: bool = False) -> AbstractContextManager[Iterable[Frame]]: ...

    def fit_length(self, policy: LengthPolicy, audio_s: Fraction) -> Iterator[Frame]: ...


class VideoSource:
    """A file with a picture, and how it is read; MediaError where it cannot be opened.

    `size` is the longest side in pixels that a photo keeps, `keep_going` reads damaged files as far as possible.
    """

    def __init__(self, path: str | Path, *, keep_going: bool = False, size: int | None = None) -> None:
        self.path, self.keep_going, self.size = Path(path), keep_going, size
        with VideoReader(path, keep_going=keep_going, size=size) as reader:
            self.format, self.frame_count_estimate = reader.format, reader.frame_count_estimate
            self.has_audio, self.duration_s = reader.has_audio, reader.duration_s

    @property
    def is_photo(self) -> bool:
        return self.format.is_image

    @property
    def rate(self) -> Fraction:
        return self.format.rate

    def open(self, *, quiet: bool = False) -> VideoReader:
        """Open it from the first frame; `quiet` where its notes are logged elsewhere."""
        return VideoReader(self.path, keep_going=self.keep_going, size=self.size, quiet=quiet)

    def fit_length(self, policy: LengthPolicy, audio_s: Fraction) -> Iterator[Frame]:
        """Iterate over as many frames as `policy` asks for beside `audio_s` seconds of speech."""
        return fit_length(self.path, policy, audio_s, keep_going=self.keep_going, size=self.size)


def _to_fraction(time_s: float | Fraction) -> Fraction:
    """Return a time of any numeric type to the microsecond."""
    exact = time_s if isinstance(time_s, Fraction) else Fraction(float(time_s))  # NumPy's own are no numbers to it
    return exact.limit_denominator(1_000_000)


class ArraySource:
    """RGB pictures [h w 3] of one size with the times in seconds at which they are shown; MediaError for others."""

    path = Path("frames")
    is_photo = False

    def __init__(self, frames: Sequence[U8] | U8, times_s: Sequence[float | Fraction]) -> None:
        shapes = {(frame.shape, str(frame.dtype)) for frame in frames}
        if len(shapes) != 1 or not all(len(shape) == 3 and shape[2] == 3 and kind == "uint8" for shape, kind in shapes):
            raise MediaError(f"frames: expected RGB pictures [h w 3] of one size, uint8, found {shapes or 'none'}")
        if len(times_s) != len(frames) or any(after <= before for before, after in pairwise(times_s)):
            raise MediaError(
                f"times: expected {len(frames)} rising times in seconds, a frame each, found {len(times_s)}"
            )
        self._pictures = frames
        times = [_to_fraction(time_s) for time_s in times_s]
        steps = [after - before for before, after in pairwise(times)] or [Fraction(1, 25)]
        self.start_s, self.rate = times[0], 1 / min(steps)
        self._times = [(time_s - self.start_s, step) for time_s, step in zip(times, [*steps, steps[-1]], strict=False)]
        self._pending: dict[int, Frame] = {}

    def open(self, *, quiet: bool = False) -> AbstractContextManager[Iterator[Frame]]:
        """Iterate over the frames; `quiet` has no effect."""
        return closing(self._iterate())

    def fit_length(self, policy: LengthPolicy, audio_s: Fraction) -> Iterator[Frame]:
        """Iterate over the frames as they are, whatever the policy; `restore` has to follow for each."""
        for frame in self._iterate():
            self._pending[frame.index] = frame
            yield frame

    def restore(self, frame: Frame) -> U8:
        """Return the given picture [h w 3] with those pixels that were changed in `frame` since `fit_length`."""
        before = self._pending.pop(frame.index)
        if frame.has_same_pixels(before):
            return self._pictures[frame.index].copy()
        changed = np.zeros((frame.height, frame.width), bool)
        for plane, other in zip(frame.planes, before.planes, strict=True):
            differs = plane != other
            if differs.shape != changed.shape:  # chroma
                differs = differs.repeat(2, axis=0).repeat(2, axis=1)[: frame.height, : frame.width]
            changed |= differs
        return np.where(changed[..., None], frame.rgb(), self._pictures[frame.index])

    def _iterate(self) -> Generator[Frame, None, None]:
        for index, (picture, (time_s, step_s)) in enumerate(zip(self._pictures, self._times, strict=True)):
            yield Frame(from_rgb(np.ascontiguousarray(picture)), index, time_s, step_s, key=True)
