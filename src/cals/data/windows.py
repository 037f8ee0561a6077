"""Sampling of training windows: pure functions of the step's own random numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cals.data.rooms import RoomAugment, apply_room
from cals.data.store import ClipStore
from cals.errors import DataError
from cals.types import U8

SYNC_FRAMES = 5
"""Length of a sync encoder's window (paper section 1)."""
MIN_REFERENCE_DISTANCE = 5
"""Least distance of a reference from its target frame: nearer ones show the target's mouth (paper section 5)."""


def build_step_rng(seed: int, step: int) -> np.random.Generator:
    """Return the random generator of one step: the same whether training ran through or was resumed."""
    return np.random.default_rng([seed, step, 0])


def compute_speaker_weights(speakers: list[str], power: float = 0.5) -> np.ndarray:
    """Compute the probability of each clip so that a speaker with n clips is drawn in proportion to n ** power.

    A power of 1 draws clips evenly, 0 draws speakers evenly; values in between let neither dominate.
    """
    names, counts = np.unique(speakers, return_counts=True)
    weight_of = dict(zip(names, counts.astype(float) ** (power - 1), strict=True))
    weights = np.array([weight_of[name] for name in speakers])
    probabilities: np.ndarray = weights / weights.sum()
    return probabilities


def crop_lower_halves(crops: U8) -> Tensor:
    """Return the lower halves, uint8 [t 3 h/2 w], of crops [t h w 3]: the input of the visual sync encoder."""
    return torch.from_numpy(crops[:, crops.shape[1] // 2 :]).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class SyncBatch:
    """`clips` x `per_clip` windows; those of one clip are consecutive."""

    lower: Tensor
    """Lower halves [clips per_clip t 3 h w], uint8."""
    mel: Tensor
    """[clips per_clip m f] in dB."""


def sample_mel(store: ClipStore, index: int, rng: np.random.Generator, room: RoomAugment | None = None) -> Tensor:
    """Sample the mel [m f] of a clip: one of its voices where it has several, in a random room if given one."""
    variants = store.load_variants(index)
    mel = variants[int(rng.integers(len(variants)))] if len(variants) > 1 else variants[0]
    return mel if room is None else apply_room(mel, rng, room, store.features)


def sample_sync_windows(
    store: ClipStore,
    rng: np.random.Generator,
    *,
    clips: int,
    per_clip: int,
    frames: int,
    step: int,
    room: RoomAugment | None = None,
) -> SyncBatch:
    """Sample windows of `frames` frames, `step` mel frames each; other windows of a clip are the hard negatives."""
    weights = compute_speaker_weights(store.speakers)
    lower, mel = [], []
    for index in rng.choice(len(store), size=clips, replace=clips > len(store), p=weights):
        clip = store[int(index)]
        count = clip.frames - frames + 1
        starts = rng.choice(count, size=per_clip, replace=per_clip > count)
        clip_mel = sample_mel(store, int(index), rng, room)
        for start in starts:
            lower.append(clip.crops[start : start + frames, clip.crops.shape[1] // 2 :])
            mel.append(clip_mel[start * step : (start + frames) * step])
    # stacked with colours last, as they lie: a transposed copy would cost ten times as much
    pixels, mels = torch.from_numpy(np.stack(lower)).permute(0, 1, 4, 2, 3), torch.stack(mel)
    return SyncBatch(pixels.view(clips, per_clip, *pixels.shape[1:]), mels.view(clips, per_clip, *mels.shape[1:]))


@dataclass(frozen=True)
class ClipBatch:
    """Windows of one length from several clips."""

    clips: tuple[int, ...]
    starts: tuple[int, ...]
    mel: Tensor
    """[b m f] in dB."""


def sample_windows(
    store: ClipStore,
    rng: np.random.Generator,
    *,
    clips: int,
    frames: int,
    step: int,
    room: RoomAugment | None = None,
    power: float = 0.5,
) -> ClipBatch:
    """Sample `frames` consecutive frames of random clips; clips that are too short are never drawn.

    `power` is that of `compute_speaker_weights`. Raises DataError when all clips are too short.
    """
    lengths = np.array([store.frames(i) for i in range(len(store))])
    if lengths.max() < frames:
        raise DataError(
            f"corpus: expected clips of {frames} frames, found the longest of {lengths.max()}; prepare longer clips or "
            "use a preset with shorter windows"
        )
    weights = compute_speaker_weights(store.speakers, power) * (lengths >= frames)
    chosen = rng.choice(len(store), size=clips, p=weights / weights.sum())
    starts = [int(rng.integers(store.frames(int(i)) - frames + 1)) for i in chosen]
    mel = [
        sample_mel(store, int(i), rng, room)[s * step : (s + frames) * step]
        for i, s in zip(chosen, starts, strict=True)
    ]
    return ClipBatch(tuple(int(i) for i in chosen), tuple(starts), torch.stack(mel))


def resample(curves: Tensor, length: int) -> Tensor:
    """Resample curves [b t d] to `length` steps by linear interpolation: with fewer steps they play faster."""
    if curves.shape[1] == length:
        return curves
    return torch.nn.functional.interpolate(curves.transpose(1, 2), size=length, mode="linear").transpose(1, 2)


def add_pauses(
    mel: Tensor, target: Tensor, rng: np.random.Generator, *, share: float, floor_db: float
) -> tuple[Tensor, Tensor]:
    """Silence a part of some rows, a `share` of them: log-mels [b m f], and motion [b t k] at rest.

    A pause has 12 frames to half of the window; its sound is at most 20 dB above `floor_db`. Mouths take two frames to
    come to rest, and two to leave it.
    """
    frames, step = target.shape[1], mel.shape[1] // target.shape[1]
    mel, target = mel.clone(), target.clone()
    for row in np.flatnonzero(rng.random(len(mel)) < share):
        length = int(rng.integers(min(12, frames), max(13, frames // 2)))
        start = int(rng.integers(max(1, frames - length + 1)))
        max_db = floor_db + rng.uniform(0, 20)
        mel[row, start * step : (start + length) * step] = mel[row, start * step : (start + length) * step].clamp(
            max=max_db
        )
        index = torch.arange(frames)
        fade = torch.minimum(index - start + 1, start + length - index).clamp(0, 3)
        target[row] *= (1 - fade / 3)[:, None]
    return mel, target
