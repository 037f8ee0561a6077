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
from cals.data.sources.layout import (
    ANOTHER_COPY,
    BROKEN_TIMES,
    MISSING_TEXT,
    MISSING_TIMES,
    find_beside,
    is_resource_fork,
)
from cals.errors import DataError

TICK_S = Fraction(1, 25_000)
SILENCES = frozenset({"sil", "sp"})
QUALITY = re.compile(r"(video/)?[^/]*mpg_(6000|vcd)[^/]*/")
"""Folders between speaker and sentence, or around both, as the archives unpack."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(zip("z123456789", DIGITS, strict=True)) | {"0": "zero"},
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
"""Word of each letter of a sentence's name, here and in Lombard GRID."""


def list_clips(root: Path) -> list[ClipSource]:
    """List all clips below `root`, with words where an alignment is beside them; DataError for a broken one."""
    clips = folder.list_clips(root)
    return [_attach_words(clip, _read_words(find_beside(clip.video, ".align")) or None) for clip in clips]


def read_corpus(root: Path) -> SourceCorpus:
    """List all clips below `root`, with their words where it holds a readable alignment anywhere.

    An alignment that is not beside its video is found by its name: a sentence belongs to one speaker only, while the
    speakers' numbers in `alignments` are not always those of the videos.
    """
    dropped: Counter[str] = Counter()
    alignments: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() == ".align" and not is_resource_fork(path):
            alignments[path.stem].append(path)
    clip_of: dict[str, ClipSource] = {}
    for clip in folder.list_clips(root):
        name = QUALITY.sub("", clip.name)
        clip = dataclasses.replace(clip, name=name, speaker=name.partition("/")[0])
        if name in clip_of:  # in another quality: 6000 comes before vcd
            dropped[ANOTHER_COPY] += 1
            continue
        try:
            words = _read_words(_find_alignment(clip, alignments[clip.video.stem]))
        except DataError:
            words = ()
        dropped[MISSING_TIMES] += words is None
        dropped[BROKEN_TIMES] += words == ()
        words = words or None
        clip_of[name] = _attach_words(clip, words)
        dropped[MISSING_TEXT] += clip_of[name].text is None
    return SourceCorpus(clips=list(clip_of.values()), dropped=+dropped)


def spell_sentence(name: str) -> str | None:
    """Return the sentence that a file name abbreviates, `bbaf2n`; None where it is no such name."""
    if len(name) != len(WORDS) or any(letter not in words for letter, words in zip(name, WORDS, strict=True)):
        return None
    return " ".join(words[letter] for letter, words in zip(name, WORDS, strict=True))


def _attach_words(clip: ClipSource, words: tuple[Word, ...] | None) -> ClipSource:
    """Return the clip with its words, if there are any, and its text: that of the words, else of the name."""
    text = spell_sentence(clip.video.stem) if words is None else " ".join(word.text for word in words)
    return dataclasses.replace(clip, words=words, text=text)


def _find_alignment(clip: ClipSource, same_name: list[Path]) -> Path:
    """Return the alignment beside the clip, else that of its speaker, else the only one of its name."""
    beside = find_beside(clip.video, ".align")
    if beside.is_file():
        return beside
    same_speaker = [path for path in same_name if clip.speaker in path.parts]
    candidates = same_speaker or same_name
    return candidates[0] if len(candidates) == 1 else beside


def _read_words(path: Path) -> tuple[Word, ...] | None:
    """Read an alignment; None where there is no such file, DataError where it is broken."""
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected an alignment, found {error}; correct or remove the file") from error
    words = []
    for number, line in enumerate(lines, start=1):
        try:
            start, end, text = line.split()
            word = Word(int(start) * TICK_S, int(end) * TICK_S, text)
            if not 0 <= word.start_s <= word.end_s:
                raise ValueError(line)
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: expected 'start end word', found {line!r}; correct or remove the file"
            ) from error
        if text not in SILENCES:
            words.append(word)
    return tuple(words)
