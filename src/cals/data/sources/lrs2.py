"""LRS2: `mvlrs_v1/{main,pretrain}/ID/00001.mp4`, a `.txt` beside each, lists of the parts (Afouras et al., 2018)."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from cals.data.manifest import ClipSource, SourceCorpus, Word
from cals.data.sources.layout import (
    BROKEN_TEXT,
    BROKEN_TIMES,
    MISSING_TEXT,
    MISSING_VIDEO,
    UNLISTED,
    find_base,
    find_beside,
    iterate_videos,
    read_lines,
    require_clips,
)

FOLDERS = ("main", "pretrain")
LISTS = {
    "pretrain": ("pretrain", "train"),
    "train": ("main", "train"),
    "val": ("main", "val_seen"),
    "test": ("main", "test"),
}
"""List -> the folder of its lines, and its part. Speakers are unknown: people of the training broadcasts may be in
`val`, less likely in `test`, which is of later months."""
TABLE = "WORD START END"


def read_corpus(root: Path) -> SourceCorpus:
    """List the clips with their text; `root` is `mvlrs_v1` or holds it, the lists lie in either.

    An ID is a broadcast, not a person; it counts as a speaker, whose sound is late by one offset. Without any list all
    videos are clips, and there are no parts.
    """
    base = find_base(root, "mvlrs_v1")
    dropped: Counter[str] = Counter()
    parts = _read_parts([base, root], dropped)
    clips = []
    for video in (path for folder in FOLDERS for path in iterate_videos(base, f"{folder}/*")):
        name = video.relative_to(base).with_suffix("").as_posix()
        if parts is not None and name not in parts:
            dropped[UNLISTED] += 1
            continue
        text, words = read_transcript(find_beside(video, ".txt"), dropped, timed=name.startswith("pretrain/"))
        clips.append(ClipSource(name=name, speaker=video.parent.name, video=video, text=text, words=words))
    require_clips(clips, root, "mvlrs_v1/main/ID/00001.mp4")
    if parts is None:
        return SourceCorpus(clips=clips, dropped=dropped)
    splits: dict[str, list[str]] = {part: [] for _, part in LISTS.values()}
    for clip in clips:
        splits[parts[clip.name]].append(clip.name)
    dropped[MISSING_VIDEO] = len(parts) - len(clips)
    return SourceCorpus(clips=clips, dropped=+dropped, splits=splits)


def _read_parts(folders: list[Path], dropped: Counter[str]) -> Mapping[str, str] | None:
    """Read clip name -> part from the lists; None where there is no list. The last list that names a clip counts."""
    parts: dict[str, str] | None = None
    for name, (folder, part) in LISTS.items():
        paths = [root / f"{name}.txt" for root in folders]
        lines = next((read for path in paths if (read := read_lines(path)) is not None), None)
        if lines is None:
            continue
        parts = parts or {}
        for line in lines:
            clip = line.split()[0]  # in `test` flags follow
            if clip.count("/") == 1:
                parts[f"{folder}/{clip}"] = part
            else:
                dropped["lines of lists that cannot be read"] += 1
    return parts


def read_transcript(path: Path, dropped: Counter[str], *, timed: bool) -> tuple[str | None, tuple[Word, ...] | None]:
    """Read the text and, of a `timed` one, the times of its words; noise marks in braces, `{NS}`, are left out."""
    lines = read_lines(path)
    if lines is None:
        dropped[MISSING_TEXT] += 1
        return None, None
    spoken = next((line.partition(":")[2].lower() for line in lines if line.startswith("Text:")), "")
    text = " ".join(word for word in spoken.split() if not word.startswith("{"))
    if not text:
        dropped[BROKEN_TEXT] += 1
        return None, None
    if not timed:
        return text, None
    header = next((number for number, line in enumerate(lines) if line.startswith(TABLE)), len(lines))
    try:
        words = tuple(_parse_word(line) for line in lines[header + 1 :] if not line.startswith("{"))
    except (ValueError, ZeroDivisionError):
        words = ()
    if not words:
        dropped[BROKEN_TIMES] += 1
        return text, None
    return text, words


def _parse_word(line: str) -> Word:
    text, start, end, *_ = line.split()
    word = Word(Fraction(start), Fraction(end), text.lower())
    if not 0 <= word.start_s <= word.end_s:
        raise ValueError(line)
    return word
