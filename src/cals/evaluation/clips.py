"""Selection of the clips that an evaluation uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from cals.data.manifest import ClipSource
from cals.data.store import load_split_names
from cals.errors import ConfigError, DataError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ClipsConfig:
    """Parts of the splits, and the number of clips of each."""

    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    clips: int | None = None
    """Maximum number a part, evenly spaced; None for all."""

    def __post_init__(self) -> None:
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise ConfigError(f"parts: expected one or more, each once, found {self.parts}; name those of the splits")
        if self.clips is not None and self.clips < 1:
            raise ConfigError(f"clips: expected 1 or more, found {self.clips}; leave it out for all")


def select_names(
    there: Mapping[str, ClipSource], corpus: Path, splits: Path | None, part: str, *, some: bool = True
) -> list[str]:
    """Return the sorted names of a part's clips, or of all clips without splits.

    Raises DataError unless the corpus has them. With `some`, an empty part is an error too.
    """
    names = sorted(there) if splits is None else sorted(load_split_names(splits, part))
    missing = [name for name in names if name not in there]
    if missing or (some and not names):
        raise DataError(
            f"{corpus}: expected the clips of {part!r} in {splits}, found none of {missing[:3] or 'them'}; "
            "name the corpus that the splits belong to"
        )
    return names


def sample_evenly(clips: Sequence[T], count: int | None) -> list[T]:
    """Return at most `count` of the clips, evenly spaced; all for None."""
    number = len(clips) if count is None else min(count, len(clips))
    return [clips[index] for index in np.unique(np.linspace(0, len(clips) - 1, number).round().astype(int))]
