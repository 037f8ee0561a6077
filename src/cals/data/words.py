"""Mouths with words of known times: training and test data of the lip reader."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.data.augment import FaceAugment, sample_appearance
from cals.data.pictures import apply_appearance, transpose_channels
from cals.data.sample_store import SampleStore
from cals.data.shards import Sample
from cals.data.store import decode_crops
from cals.types import U8

I64 = NDArray[np.int64]
Cut = tuple[int, int, int, int]
"""Top, bottom, left and right within a crop, in pixels."""
MIN_WORD_FRAMES = 2
"""Least length of a word: GRID's aligner gives some of them an instant only."""


class TimedWord(NamedTuple):
    """A word and its frames; `end` is exclusive."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, eq=False)
class WordClip:
    """Mouth and words of one clip."""

    key: str
    mouth: U8 = field(repr=False)
    """[t h w 3]"""
    words: tuple[TimedWord, ...]


def crop_mouth(crops: U8, cut: Cut) -> U8:
    """Cut the mouth [t h w 3] out of crops [t size size 3]; a copy, so that the crops can be freed."""
    top, bottom, left, right = cut
    return crops[:, top:bottom, left:right].copy()


def quantize_words(words: Iterable[Sequence[object]], frames: int, fps: int) -> tuple[TimedWord, ...]:
    """Round words (start s, end s, text) to frames, two at least; those that do not fit in are left out."""
    timed = []
    for start_s, end_s, text in words:
        start = round(float(start_s) * fps)  # type: ignore[arg-type]
        end = max(start + MIN_WORD_FRAMES, round(float(end_s) * fps))  # type: ignore[arg-type]
        if start >= 0 and end <= frames:
            timed.append(TimedWord(start, end, str(text)))
    return tuple(timed)


def build_word_windows(
    words: Sequence[TimedWord], frames: int, context: int, blank: int
) -> tuple[I64, NDArray[np.bool_]]:
    """Compute the frame indices [n l] of each word's window, and a mask [n l] of the word's own frames.

    Windows are as long as the longest word needs; places beyond the context or the clip of `frames` frames are `blank`.
    """
    longest = max(word.end - word.start for word in words) + 2 * context
    index = np.array([word.start - context for word in words])[:, None] + np.arange(longest)
    starts, ends = (np.array(column)[:, None] for column in zip(*[word[:2] for word in words], strict=True))
    outside = (index < 0) | (index >= frames) | (index >= ends + context)
    return np.where(outside, blank, index), (index >= starts) & (index < ends)


class WordStore(SampleStore[WordClip]):
    """Mouths of the clips with known words in a prepared folder; decoded on first access, then kept (small).

    `names` are source names, None for all; `vocabulary` says which words count. Raises DataError when the folder is not
    prepared; the store may be empty.
    """

    def __init__(self, folder: Path, names: set[str] | None, *, cut: Cut, fps: int, vocabulary: frozenset[str]) -> None:
        words: dict[str, tuple[TimedWord, ...]] = {}

        def choose(facts: dict[str, Any]) -> bool:
            timed = quantize_words(facts.get("words") or [], int(facts["frames"]), fps)
            words[facts["key"]] = tuple(word for word in timed if word.text in vocabulary)
            return bool(words[facts["key"]])

        def load(sample: Sample) -> WordClip:
            mouth = crop_mouth(decode_crops(sample.crops, int(sample.facts["frames"])), cut)
            return WordClip(sample.key, mouth, words[sample.key])

        super().__init__(folder, names, choose, load)
        self.count = sum(len(words) for words in words.values())
        """Words of all clips together."""


@dataclass(frozen=True, eq=False)
class WordBatch:
    """Words of several clips, each with the frames of its window."""

    mouths: Tensor
    """[t 3 h w] uint8, the frames of all clips in a row."""
    index: Tensor
    """[n l] places in `mouths`, or blank."""
    word_mask: Tensor
    """[n l], True where a place belongs to the word itself."""
    texts: tuple[str, ...]


def collate_words(clips: Sequence[tuple[U8, Sequence[TimedWord]]], context: int, blank: int) -> WordBatch:
    """Collate mouths [t h w 3] with their words; the frames of words count from the first of their mouth."""
    windows, first = [], 0
    for mouth, words in clips:
        index, mask = build_word_windows(words, len(mouth), context, blank)
        windows.append((np.where(index == blank, blank, index + first), mask))
        first += len(mouth)
    longest = max(index.shape[1] for index, _ in windows)

    def pad_and_stack(parts: Sequence[NDArray[np.generic]], value: object) -> Tensor:
        padding = [((0, 0), (0, longest - part.shape[1])) for part in parts]
        padded = [np.pad(part, pad, constant_values=value) for part, pad in zip(parts, padding, strict=True)]  # type: ignore[call-overload]
        return torch.from_numpy(np.concatenate(padded))

    return WordBatch(
        mouths=torch.from_numpy(np.concatenate([transpose_channels(mouth) for mouth, _ in clips])),
        index=pad_and_stack([index for index, _ in windows], blank),
        word_mask=pad_and_stack([mask for _, mask in windows], False),
        texts=tuple(word.text for _, words in clips for word in words),
    )


def sample_words(
    store: WordStore, rng: np.random.Generator, face: FaceAugment, *, clips: int, jitter: int, context: int, blank: int
) -> WordBatch:
    """Sample clips with all their words: each clip of another face and camera, each word shifted by up to `jitter`."""
    sampled = []
    for index in rng.choice(len(store), size=clips, replace=clips > len(store)):
        clip = store[int(index)]
        words = [_jitter_word(word, rng, jitter, len(clip.mouth)) for word in clip.words]
        first = max(0, min(word.start for word in words) - context)
        mouth = clip.mouth[first : max(word.end for word in words) + context]
        mouth = apply_appearance(mouth, sample_appearance(rng, face, *mouth.shape[1:3]), rng)
        sampled.append((mouth, [word._replace(start=word.start - first, end=word.end - first) for word in words]))
    return collate_words(sampled, context, blank)


def _jitter_word(word: TimedWord, rng: np.random.Generator, jitter: int, frames: int) -> TimedWord:
    """Move each end of a word independently, so that neither its place nor its length is exact."""
    earlier, later = rng.integers(-jitter, jitter, 2, endpoint=True).tolist()
    start, end = word.start + earlier, word.end + later
    if not 0 <= start <= end - MIN_WORD_FRAMES <= frames - MIN_WORD_FRAMES:
        return word
    return TimedWord(start, end, word.text)
