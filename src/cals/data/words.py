"""Mouths saying words whose times are known: what a lip reader is trained and tested on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.data.augment import FaceAugment, drawn_look
from cals.data.pictures import planes, repainted
from cals.data.sample_store import SampleStore
from cals.data.shards import Sample
from cals.data.store import decoded
from cals.types import U8

I64 = NDArray[np.int64]
Cut = tuple[int, int, int, int]
"""Top, bottom, left and right within a crop, in pixels."""
FEWEST_FRAMES = 2
"""A word's own frames, at least: GRID's aligner gives some an instant only."""


class TimedWord(NamedTuple):
    """A word and its frames, the last one not included."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, eq=False)
class SpokenClip:
    """One clip's mouth and words."""

    key: str
    mouth: U8 = field(repr=False)
    """[t h w 3]"""
    words: tuple[TimedWord, ...]


def mouth_cut(crops: U8, cut: Cut) -> U8:
    """The mouth [t h w 3] within crops [t size size 3]: a copy, so that the crops can be forgotten."""
    top, bottom, left, right = cut
    return crops[:, top:bottom, left:right].copy()


def timed_words(words: Iterable[Sequence[object]], frames: int, fps: int) -> tuple[TimedWord, ...]:
    """(start s, end s, text) as frames, the nearest ones and two at least; those that do not fit in are left out."""
    found = []
    for start_s, end_s, text in words:
        start = round(float(start_s) * fps)  # type: ignore[arg-type]
        end = max(start + FEWEST_FRAMES, round(float(end_s) * fps))  # type: ignore[arg-type]
        if start >= 0 and end <= frames:
            found.append(TimedWord(start, end, str(text)))
    return tuple(found)


def word_windows(words: Sequence[TimedWord], frames: int, context: int, blank: int) -> tuple[I64, NDArray[np.bool_]]:
    """Which frames the window of each word looks at [n l], and which of its places are the word's own [n l].

    Windows are as long as the longest needs; places beyond the context or the clip of `frames` frames are `blank`.
    """
    longest = max(word.end - word.start for word in words) + 2 * context
    index = np.array([word.start - context for word in words])[:, None] + np.arange(longest)
    starts, ends = (np.array(column)[:, None] for column in zip(*[word[:2] for word in words], strict=True))
    outside = (index < 0) | (index >= frames) | (index >= ends + context)
    return np.where(outside, blank, index), (index >= starts) & (index < ends)


class WordStore(SampleStore[SpokenClip]):
    """Mouths of the clips with known words in a prepared folder; decoded when first asked for, then kept (small).

    `names` are source names, None for all; `vocabulary` says which words count. Raises DataError when the folder is not
    prepared; it may well hold no clip with words.
    """

    def __init__(self, folder: Path, names: set[str] | None, *, cut: Cut, fps: int, vocabulary: frozenset[str]) -> None:
        words: dict[str, tuple[TimedWord, ...]] = {}

        def choose(facts: dict[str, Any]) -> bool:
            timed = timed_words(facts.get("words") or [], int(facts["frames"]), fps)
            words[facts["key"]] = tuple(word for word in timed if word.text in vocabulary)
            return bool(words[facts["key"]])

        def load(sample: Sample) -> SpokenClip:
            mouth = mouth_cut(decoded(sample.crops, int(sample.facts["frames"])), cut)
            return SpokenClip(sample.key, mouth, words[sample.key])

        super().__init__(folder, names, choose, load)
        self.count = sum(len(words) for words in words.values())
        """How many words are said in all."""


@dataclass(frozen=True, eq=False)
class WordBatch:
    """Words of several clips, each with the frames that its window looks at."""

    mouths: Tensor
    """[t 3 h w] uint8, the frames of all clips in a row."""
    index: Tensor
    """[n l] places in `mouths`, or blank."""
    own: Tensor
    """[n l], True where a place is the word's own."""
    texts: tuple[str, ...]


def joined(clips: Sequence[tuple[U8, Sequence[TimedWord]]], context: int, blank: int) -> WordBatch:
    """Mouths [t h w 3] with the words they say, one after the other; words' frames count from their mouth's first."""
    windows, first = [], 0
    for mouth, words in clips:
        index, own = word_windows(words, len(mouth), context, blank)
        windows.append((np.where(index == blank, blank, index + first), own))
        first += len(mouth)
    longest = max(index.shape[1] for index, _ in windows)

    def stacked(parts: Sequence[NDArray[np.generic]], value: object) -> Tensor:
        sides = [((0, 0), (0, longest - part.shape[1])) for part in parts]
        filled = [np.pad(part, side, constant_values=value) for part, side in zip(parts, sides, strict=True)]  # type: ignore[call-overload]
        return torch.from_numpy(np.concatenate(filled))

    return WordBatch(
        mouths=torch.from_numpy(np.concatenate([planes(mouth) for mouth, _ in clips])),
        index=stacked([index for index, _ in windows], blank),
        own=stacked([own for _, own in windows], False),
        texts=tuple(word.text for _, words in clips for word in words),
    )


def drawn_words(
    store: WordStore, rng: np.random.Generator, face: FaceAugment, *, clips: int, jitter: int, context: int, blank: int
) -> WordBatch:
    """All words of random clips, each clip with another face and camera, each word up to `jitter` frames elsewhere."""
    drawn = []
    for choice in rng.choice(len(store), size=clips, replace=clips > len(store)):
        clip = store[int(choice)]
        words = [_moved(word, rng, jitter, len(clip.mouth)) for word in clip.words]
        first = max(0, min(word.start for word in words) - context)
        mouth = clip.mouth[first : max(word.end for word in words) + context]
        mouth = repainted(mouth, drawn_look(rng, face, *mouth.shape[1:3]), rng)
        drawn.append((mouth, [word._replace(start=word.start - first, end=word.end - first) for word in words]))
    return joined(drawn, context, blank)


def _moved(word: TimedWord, rng: np.random.Generator, jitter: int, frames: int) -> TimedWord:
    """Each end moved by itself, so that neither a word's place nor its length is exact."""
    earlier, later = rng.integers(-jitter, jitter, 2, endpoint=True).tolist()
    start, end = word.start + earlier, word.end + later
    if not 0 <= start <= end - FEWEST_FRAMES <= frames - FEWEST_FRAMES:
        return word
    return TimedWord(start, end, word.text)
