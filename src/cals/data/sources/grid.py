"""GRID: `SPEAKER/SENTENCE.mpg` and `SENTENCE.align` (Cooke et al., 2006), in either distribution or one's own copy.

The University of Sheffield's has `s1/video/mpg_6000/*.mpg` and `s1/align/*.align`, Zenodo's `s1/*.mpg` and
`alignments/s1/*.align`. Sound is that of the videos, which is in step with them. The name is the sentence, a letter a
word; where there is an alignment, its words are.
"""

import dataclasses
import re
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

from cals.data.manifest import ClipSource, SourceCorpus, Word
from cals.data.sources import folder
from cals.data.sources.layout import BROKEN_TIMES, MISSING_TEXT, MISSING_TIMES
from cals.errors import DataError

TICK_S = Fraction(1, 25_000)
SILENCES = frozenset({"sil", "sp"})
QUALITY = re.compile(r"(video/)?[^/]*mpg_(6000|vcd)[^/]*/")
"""The folders between speaker and sentence, or around both, as the archives unpack."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(zip("z123456789", DIGITS, strict=True)) | {"0": "zero"},
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
"""What each letter of a sentence's name stands for, here and in Lombard GRID."""


def clips(root: Path) -> list[ClipSource]:
    """All clips below `root`, with words where there is an alignment beside them; DataError for a broken one."""
    return [_with_words(clip, _words(clip.video.with_suffix(".align"))) for clip in folder.clips(root)]


def read_corpus(root: Path) -> SourceCorpus:
    """All clips below `root`, with their words where there is an alignment anywhere in it that can be read.

    Where an alignment is not beside its video it is found by its name: a sentence belongs to one speaker only, while
    the speakers' numbers in `alignments` are not always those of the videos.
    """
    dropped: Counter[str] = Counter()
    aligned: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*.align")):
        aligned[path.stem].append(path)
    found: dict[str, ClipSource] = {}
    for clip in folder.clips(root):
        name = QUALITY.sub("", clip.name)
        clip = dataclasses.replace(clip, name=name, speaker=name.partition("/")[0])
        if name in found:  # in another quality: 6000 comes before vcd
            dropped["videos of which there is another copy"] += 1
            continue
        try:
            words = _words(_alignment(clip, aligned[clip.video.stem]))
        except DataError:
            dropped[BROKEN_TIMES] += 1
            words = None
        else:
            dropped[MISSING_TIMES] += words is None
        found[name] = _with_words(clip, words)
        dropped[MISSING_TEXT] += found[name].text is None
    return SourceCorpus(clips=list(found.values()), dropped=+dropped)


def spell_sentence(name: str) -> str | None:
    """Write out the sentence that a file name abbreviates, `bbaf2n`; None where it is no such name."""
    if len(name) != len(WORDS) or any(letter not in words for letter, words in zip(name, WORDS, strict=True)):
        return None
    return " ".join(words[letter] for letter, words in zip(name, WORDS, strict=True))


def _with_words(clip: ClipSource, words: tuple[Word, ...] | None) -> ClipSource:
    """The clip with its words, if there are any, and its text: theirs, else its name's."""
    text = spell_sentence(clip.video.stem) if words is None else " ".join(word.text for word in words)
    return dataclasses.replace(clip, words=words, text=text)


def _alignment(clip: ClipSource, of_name: list[Path]) -> Path:
    """The alignment beside the clip, else that of its speaker, else the only one of its name."""
    beside = clip.video.with_suffix(".align")
    if beside.is_file():
        return beside
    of_speaker = [path for path in of_name if clip.speaker in path.parts]
    fitting = of_speaker or of_name
    return fitting[0] if len(fitting) == 1 else beside


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
