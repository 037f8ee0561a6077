"""LRW: `lipread_mp4/WORD/{train,val,test}/WORD_00001.mp4`, a word amid others, a `.txt` (Chung, Zisserman, 2016)."""

import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

from cals.data.manifest import ClipSource, SourceCorpus, Word
from cals.data.sources.layout import (
    BROKEN_TIMES,
    MISSING_TEXT,
    find_base,
    find_beside,
    iterate_videos,
    read_lines,
    require_clips,
)

CLIP_S = Fraction(29, 25)
"""Every clip has 29 frames at 25 a second; its word is in the middle."""
PARTS = {"train": "train", "val": "val_seen", "test": "test"}
"""Official parts. Speakers are not listed, and people of the training clips may be in the others."""
DURATION = re.compile(r"Duration:\s*([0-9.]+)")


def read_corpus(root: Path) -> SourceCorpus:
    """List the clips with the one word of each that is known; `root` is `lipread_mp4` or holds it.

    The speakers are unknown, so each clip counts as a speaker of its own.
    """
    base = find_base(root, "lipread_mp4")
    dropped: Counter[str] = Counter()
    clips = []
    splits: dict[str, list[str]] = {part: [] for part in PARTS.values()}
    for video in iterate_videos(base, "*/*"):
        part = video.parent.name
        if part not in PARTS:
            dropped["videos outside train, val and test"] += 1
            continue
        name = video.relative_to(base).with_suffix("").as_posix()
        word = video.parent.parent.name.lower()
        clips.append(
            ClipSource(name=name, speaker=name, video=video, words=_read_words(video, word, dropped), text=word)
        )
        splits[PARTS[part]].append(name)
    require_clips(clips, root, "lipread_mp4/WORD/train/WORD_00001.mp4")
    return SourceCorpus(clips=clips, dropped=dropped, splits=splits)


def _read_words(video: Path, word: str, dropped: Counter[str]) -> tuple[Word, ...] | None:
    lines = read_lines(find_beside(video, ".txt"))
    if lines is None:
        dropped[MISSING_TEXT] += 1
        return None
    match = DURATION.search("\n".join(lines))
    try:
        length_s = Fraction(match[1]) if match else Fraction(0)
    except ValueError:
        length_s = Fraction(0)
    if not 0 < length_s <= CLIP_S:
        dropped[BROKEN_TIMES] += 1
        return None
    return (Word((CLIP_S - length_s) / 2, (CLIP_S + length_s) / 2, word),)
