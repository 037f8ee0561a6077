"""A video or photo that is opened once to see what it is, and read again as often as needed."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.media.timeline import fit_length
from cals.options import LengthPolicy


class VideoSource:
    """A file with a picture, and how it is read; MediaError where it cannot be opened.

    `size` is the longest side in pixels that a photo keeps, `keep_going` reads damaged files as far as possible.
    """

    def __init__(self, path: str | Path, *, keep_going: bool = False, size: int | None = None) -> None:
        self.path, self.keep_going, self.size = Path(path), keep_going, size
        with VideoReader(path, keep_going=keep_going, size=size) as reader:
            self.format, self.frame_count_estimate = reader.format, reader.frame_count_estimate

    @property
    def is_photo(self) -> bool:
        return self.format.is_image

    def open(self, *, quiet: bool = False) -> VideoReader:
        """Open it from the first frame; `quiet` where its notes are logged elsewhere."""
        return VideoReader(self.path, keep_going=self.keep_going, size=self.size, quiet=quiet)

    def fit_length(self, policy: LengthPolicy, audio_s: Fraction) -> Iterator[Frame]:
        """Iterate over as many frames as `policy` asks for beside `audio_s` seconds of speech."""
        return fit_length(self.path, policy, audio_s, keep_going=self.keep_going, size=self.size)
