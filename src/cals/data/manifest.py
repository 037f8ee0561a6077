"""What a corpus holds before anything is decoded: one entry a clip."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from cals.errors import DataError
from cals.types import Box

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".avi"})


class Word(NamedTuple):
    """One spoken word and when, in seconds after the first frame."""

    start_s: Fraction
    end_s: Fraction
    text: str


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the picture, measured in a version of the video that may have had another resolution."""

    box: Box
    of_height_px: int

    def in_picture(self, width: int, height: int) -> Box:
        """The box in a picture of this size, cut at its edges; without area where it lies outside."""
        scale = height / self.of_height_px
        return Box(*(round(side * scale) for side in self.box)).clipped(width, height)


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One contiguous source recording of one speaker."""

    name: str
    """Unique in the corpus, e.g. `s1/bbaf3s`."""
    speaker: str
    video: Path
    words: tuple[Word, ...] | None = None
    """None where nobody has written them down."""
    text: str | None = None
    """What is said in all of the clip, in lower case, where it is known without times; `words` say it as well."""
    sound: Path | None = None
    """A file with the sound, in step with the first picture of the video; None for the video's own."""
    start_s: Fraction = Fraction(0)
    """Seconds after the first frame of the video at which the clip begins."""
    end_s: Fraction | None = None
    """None for the end of the video."""
    region: Region | None = None
    """Where in the picture the face is; None for anywhere."""

    @property
    def key(self) -> str:
        """The name as a shard key: no slash, and no dot, at which webdataset would split it."""
        return self.name.replace("/", "-").replace(".", "_")


@dataclass(frozen=True, kw_only=True)
class SourceCorpus:
    """What a folder holds, as one of the readers in `data.sources` finds it."""

    clips: list[ClipSource]
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> how many videos, texts or lines, as the reason says, are not among the clips or known of them."""
    splits: Mapping[str, Sequence[str]] | None = None
    """Clip names by part, as `cals train --splits` reads them; None where the corpus has no parts of its own."""


def check_keys(clips: list[ClipSource]) -> None:
    """Raise DataError when two clips have one key: the later one would take the earlier one's place."""
    seen: dict[str, ClipSource] = {}
    for clip in clips:
        other = seen.setdefault(clip.key, clip)
        if other is not clip:
            raise DataError(
                f"corpus: expected a key for every clip, found {clip.key!r} for both {other.video} and {clip.video}; "
                "rename one of them"
            )
