"""Entries of a corpus before anything is decoded: one a clip."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from cals.errors import DataError
from cals.types import Box

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".avi"})
MAX_KEY_BYTES = 200
"""A file name has at most 255 bytes, and while it is written more is added to it."""


class Word(NamedTuple):
    """One spoken word and its times, in seconds after the first frame."""

    start_s: Fraction
    end_s: Fraction
    text: str


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the picture, in pixels of a version of the video that may have had another resolution."""

    box: Box
    height_px: int

    def scale_to(self, width: int, height: int) -> Box:
        """Return the box in a picture of this size, clipped at its edges; without area where it lies outside."""
        scale = height / self.height_px
        return Box(*(round(side * scale) for side in self.box)).clip(width, height)


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One contiguous source recording of one speaker."""

    name: str
    """Unique in the corpus, e.g. `s1/bbaf3s`."""
    speaker: str
    video: Path
    words: tuple[Word, ...] | None = None
    """None where they are not known."""
    text: str | None = None
    """Text of the whole clip, in lower case, where it is known without times; otherwise `words` hold it."""
    sound: Path | None = None
    """A file with the sound, in step with the first picture of the video; None for the video's own."""
    start_s: Fraction = Fraction(0)
    """Seconds after the first frame of the video at which the clip begins."""
    end_s: Fraction | None = None
    """None for the end of the video."""
    region: Region | None = None
    """Part of the picture in which the face is; None for all of it."""

    @property
    def key(self) -> str:
        """The name as a shard key: no slash, no dot, at which webdataset would split it, and fit for a file name."""
        key = self.name.replace("/", "-").replace(".", "_")
        encoded = key.encode()
        if len(encoded) <= MAX_KEY_BYTES:
            return key
        start = encoded[: MAX_KEY_BYTES - 17].decode(errors="ignore")
        return f"{start}-{hashlib.sha256(encoded).hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True)
class SourceCorpus:
    """Clips of a folder, as one of the readers in `data.sources` finds them."""

    clips: list[ClipSource]
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> number of videos, texts or lines that are not among the clips or not known of them."""
    splits: Mapping[str, Sequence[str]] | None = None
    """Clip names by part, as `cals train --splits` reads them; None where the corpus has no parts of its own."""


def check_keys(clips: list[ClipSource]) -> None:
    """Raise DataError when two clips have the same key: the later one would replace the earlier one."""
    clip_of: dict[str, ClipSource] = {}
    for clip in clips:
        other = clip_of.setdefault(clip.key, clip)
        if other is not clip:
            raise DataError(
                f"corpus: expected a key for every clip, found {clip.key!r} for both {other.video} and {clip.video}; "
                "rename one of them"
            )
