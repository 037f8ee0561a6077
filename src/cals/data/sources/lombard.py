"""Lombard GRID: `lombardgrid/front/s2_l_bbim3a.mov`, `audio/*.wav`, `alignment/*.json` (Alghamdi et al., 2018).

The name gives the speaker, noise (`l`) or quiet (`p`), and the sentence; a few continue with `_WRONG_` and what was
really said, or `#sil`. Profiles (`side`) are not read: the mesh is of faces seen from the front.
"""

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

from cals.data.manifest import ClipSource, SourceCorpus, Word
from cals.data.sources.folder import find_videos
from cals.data.sources.grid import spell_sentence
from cals.data.sources.layout import BROKEN_TEXT, BROKEN_TIMES, MISSING_TEXT, find_base, find_beside, require_clips


def read_corpus(root: Path) -> SourceCorpus:
    """List the front-view clips, with words and times; `root` is `lombardgrid` or holds it."""
    base = find_base(root, "lombardgrid")
    dropped: Counter[str] = Counter()
    clips = []
    for video in find_videos(base / "front"):
        speaker, _, sentence = video.stem.partition("_")
        sentence = sentence.rpartition("_")[2]
        if "sil" in sentence:
            dropped["clips in which nothing is said"] += 1
            continue
        text = spell_sentence(sentence)
        dropped[BROKEN_TEXT] += text is None
        words = None if text is None else _read_words(base / "alignment" / f"{video.stem}.json", text.split(), dropped)
        sound = find_beside(base / "audio" / f"{video.stem}.wav", ".wav")
        clips.append(
            ClipSource(
                name=f"{speaker}/{video.stem}",
                speaker=speaker,
                video=video,
                words=words,
                text=text,
                sound=sound if sound.is_file() else None,
            )
        )
    require_clips(clips, root, "lombardgrid/front/s2_l_bbim3a.mov")
    return SourceCorpus(clips=clips, dropped=+dropped)


def _read_words(path: Path, texts: list[str], dropped: Counter[str]) -> tuple[Word, ...] | None:
    """Read the sentence's words with their times, from its phones; None where their numbers differ."""
    try:
        (phones,) = json.loads(path.read_text(encoding="utf-8")).values()
        times = _join_phones(phones)
    except FileNotFoundError:
        dropped[MISSING_TEXT] += 1
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError, RecursionError):
        times = []
    if len(times) != len(texts):
        dropped[BROKEN_TIMES] += 1
        return None
    return tuple(Word(start, end, text) for (start, end), text in zip(times, texts, strict=True))


def _join_phones(phones: list[dict[str, Any]]) -> list[tuple[Fraction, Fraction]]:
    """Return start and end of each word of phones such as `B_B IH_I N_E`: begin, inside, end; `S` is a single phone."""
    times = []
    start = Fraction(0)
    for phone in phones:
        place = str(phone["phone"]).rpartition("_")[2]
        offset_s, length_s = Fraction(str(phone["offset"])), Fraction(str(phone["duration"]))
        if place in ("B", "S"):
            start = offset_s
        if place in ("E", "S"):
            times.append((start, offset_s + length_s))
    return times
