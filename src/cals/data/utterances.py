"""Mouths with their sound and text: batches for speech recognition."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.data.augment import FaceAugment, sample_appearance
from cals.data.corruption.bursts import Corruption, draw_corruption
from cals.data.corruption.config import CorruptionConfig
from cals.data.corruption.pictures import corrupt_pictures
from cals.data.corruption.sound import corrupt_sound
from cals.data.pictures import apply_appearance
from cals.data.sample_store import SampleStore
from cals.data.shards import Sample
from cals.data.store import decode_crops
from cals.data.transcripts import find_transcript
from cals.data.windows import compute_speaker_weights
from cals.data.words import Cut, TimedWord, crop_mouth, quantize_words
from cals.timing import AVTiming
from cals.types import F32, U8

MARGIN = 2
"""Most frames kept on either side of words that are cut out."""


@dataclass(frozen=True, eq=False)
class Utterance:
    """One sample: mouth, sound and text."""

    key: str
    speaker: str
    mouth: U8 = field(repr=False)
    """Grey [t h w]."""
    wav: F32 = field(repr=False)
    """[n] at 16 kHz, the same number of samples in every frame."""
    text: str
    words: tuple[TimedWord, ...] = ()
    """Words with their frames, where these are known."""


class UtteranceStore(SampleStore[Utterance]):
    """Samples of a prepared folder with known text, and their mouths: a square cut resized to `mouth_px`.

    `names` are source names, None for all.
    """

    def __init__(self, folder: Path, names: set[str] | None, *, cut: Cut, mouth_px: int) -> None:
        texts: dict[str, str] = {}

        def choose(facts: dict[str, Any]) -> bool:
            text = find_transcript(facts)
            if text:
                texts[facts["key"]] = text
            return bool(text)

        def load(sample: Sample) -> Utterance:
            frames = int(sample.facts["frames"])
            mouth = extract_grey_mouths(decode_crops(sample.crops, frames), cut, mouth_px)
            words = quantize_words(sample.facts.get("words") or [], frames, AVTiming().fps)
            return Utterance(sample.key, str(sample.facts["speaker"]), mouth, sample.wav, texts[sample.key], words)

        super().__init__(folder, names, choose, load)
        self.texts = [texts[key] for key in self.keys]
        """Texts in the order of the samples."""


def extract_grey_mouths(crops: U8, cut: Cut, mouth_px: int) -> U8:
    """Cut grey mouths [t mouth_px mouth_px] out of crops [t h w 3]."""
    cuts = crop_mouth(crops, cut)
    method = cv2.INTER_AREA if cuts.shape[1] > mouth_px else cv2.INTER_LINEAR
    resized = [
        cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (mouth_px, mouth_px), interpolation=method)
        for picture in cuts
    ]
    return np.stack(resized).astype(np.uint8, copy=False)


@dataclass(frozen=True, eq=False)
class UtteranceBatch:
    """Utterances of different lengths, padded with zeros."""

    wav: Tensor
    """[b n]"""
    mouths: Tensor
    """Grey [b t h w], uint8."""
    valid: Tensor
    """[b t], False beyond an utterance's end."""
    texts: tuple[str, ...]
    corruptions: tuple[Corruption, ...]
    """The corruption of each utterance."""

    def mark_clean(self) -> dict[str, Tensor]:
        """Return masks [b t] of the frames that are not corrupted, by stream; False beyond an utterance's end."""
        truths = [corruption.truth for corruption in self.corruptions]
        return {stream: _pad_batch([~truth[stream] for truth in truths]) for stream in ("audio", "video")}


def build_batch(
    utterances: Sequence[Utterance],
    rng: np.random.Generator,
    config: CorruptionConfig | None,
    view_px: int,
    face: FaceAugment | None = None,
    *,
    has_video: bool = True,
    babble: Sequence[F32] = (),
) -> UtteranceBatch:
    """Collate utterances into a batch, each with a corruption of its own if `config` is given.

    Views are the middle of the mouths, or with `face` a random part with another face and camera. Without `has_video`
    pictures are neither corrupted nor augmented. Babble is mixed from the other utterances and the wavs `babble`.
    """
    wavs, views, corruptions = [], [], []
    for row, utterance in enumerate(utterances):
        mouth, wav, corruption = utterance.mouth, utterance.wav, Corruption(frames=len(utterance.mouth))
        if config is not None:
            corruption = draw_corruption(rng, len(mouth), config)
            others = [*babble, *(other.wav for i, other in enumerate(utterances) if i != row)]
            mouth = corrupt_pictures(mouth, corruption.video) if has_video else mouth
            wav = corrupt_sound(wav, corruption.audio, len(wav) // len(mouth), others)
        wavs.append(wav)
        if face is not None and has_video:
            views.append(sample_view(mouth, rng, view_px, face))
        else:
            views.append(center_crop(mouth, view_px))
        corruptions.append(corruption)
    frames = torch.tensor([len(view) for view in views])
    return UtteranceBatch(
        wav=_pad_batch(wavs),
        mouths=_pad_batch(views),
        valid=torch.arange(int(frames.max())) < frames[:, None],
        texts=tuple(utterance.text for utterance in utterances),
        corruptions=tuple(corruptions),
    )


def _pad_batch(arrays: Sequence[NDArray[Any]]) -> Tensor:
    """Pad arrays [n ...] with zeros to one tensor [b longest ...]."""
    longest = max(len(array) for array in arrays)
    padded = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)


def center_crop(mouth: U8, view_px: int) -> U8:
    """Crop the middle [t view view] of mouths [t size size]."""
    first = (mouth.shape[1] - view_px) // 2
    return mouth[:, first : first + view_px, first : first + view_px]


def sample_view(mouth: U8, rng: np.random.Generator, view_px: int, face: FaceAugment) -> U8:
    """Sample a part [t view view] of mouths [t size size], with another face and camera."""
    mouth = apply_appearance(mouth, sample_appearance(rng, face, *mouth.shape[1:3]), rng)
    top, left = rng.integers(mouth.shape[1] - view_px + 1, size=2)
    return mouth[:, top : top + view_px, left : left + view_px]


def sample_utterances(store: UtteranceStore, rng: np.random.Generator, count: int) -> list[Utterance]:
    """Sample utterances; speakers with many of them are weighted down."""
    weights = compute_speaker_weights(store.speakers)
    chosen = rng.choice(len(store), size=count, replace=count > len(store), p=weights)
    return [store[int(index)] for index in chosen]


def cut_words(utterance: Utterance, rng: np.random.Generator, count: int) -> Utterance:
    """Cut `count` consecutive words, and up to `MARGIN` frames around them, out of an utterance.

    Utterances of fewer words, or whose words have no known times, stay whole.
    """
    words = utterance.words
    if len(words) < count:
        return utterance
    first = int(rng.integers(len(words) - count + 1))
    chosen = words[first : first + count]
    before, after = rng.integers(MARGIN, size=2, endpoint=True).tolist()
    start, end = max(0, chosen[0].start - before), min(len(utterance.mouth), chosen[-1].end + after)
    step = len(utterance.wav) // len(utterance.mouth)
    return replace(
        utterance,
        mouth=utterance.mouth[start:end],
        wav=utterance.wav[start * step : end * step],
        text=" ".join(word.text for word in chosen),
        words=(),
    )
