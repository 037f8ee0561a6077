"""GRID: `<speaker>/<sentence>.mp4` or `.mpg`, and `<sentence>.align` beside it (Cooke et al., 2006)."""

import dataclasses
from fractions import Fraction
from pathlib import Path

from cals.data.manifest import ClipSource, Word
from cals.data.sources import folder
from cals.errors import DataError

TICK_S = Fraction(1, 25_000)
SILENCES = frozenset({"sil", "sp"})


def clips(root: Path) -> list[ClipSource]:
    """All clips below `root`, with their words where there is an alignment."""
    return [dataclasses.replace(clip, words=_words(clip.video.with_suffix(".align"))) for clip in folder.clips(root)]


def _words(path: Path) -> tuple[Word, ...] | None:
    if not path.is_file():
        return None
    words = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            start, end, text = line.split()
            word = Word(int(start) * TICK_S, int(end) * TICK_S, text)
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: expected 'start end word', found {line!r}; correct or remove the file"
            ) from error
        if text not in SILENCES:
            words.append(word)
    return tuple(words)
