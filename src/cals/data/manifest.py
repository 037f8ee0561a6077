"""What a corpus holds before anything is decoded: one entry a clip."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from cals.errors import DataError

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".avi"})


class Word(NamedTuple):
    """One spoken word and when, in seconds after the first frame."""

    start_s: Fraction
    end_s: Fraction
    text: str


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One contiguous source recording of one speaker."""

    name: str
    """Unique in the corpus, e.g. `s1/bbaf3s`."""
    speaker: str
    video: Path
    words: tuple[Word, ...] | None = None
    """None where nobody has written them down."""

    @property
    def key(self) -> str:
        """The name as a shard key: no slash, and no dot, at which webdataset would split it."""
        return self.name.replace("/", "-").replace(".", "_")


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
