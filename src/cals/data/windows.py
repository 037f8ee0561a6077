"""Which windows a training step sees: pure functions of the step's own random numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cals.data.rooms import RoomAugment, in_room
from cals.data.store import ClipStore
from cals.errors import DataError
from cals.types import U8

SYNC_FRAMES = 5
"""Length of a window as the sync encoders see it (paper section 1)."""
OWN_FRAMES = 5
"""Frames nearer than this to another show its own mouth: no reference for it (paper section 5)."""


def step_rng(seed: int, step: int) -> np.random.Generator:
    """The random numbers of one step: the same whether training ran through or was resumed."""
    return np.random.default_rng([seed, step, 0])


def speaker_weights(speakers: list[str], power: float = 0.5) -> np.ndarray:
    """Probability of each clip such that a speaker with n clips is drawn in proportion to n ** power.

    1 draws clips evenly, 0 speakers evenly; in between neither drowns the other.
    """
    names, counts = np.unique(speakers, return_counts=True)
    each = dict(zip(names, counts.astype(float) ** (power - 1), strict=True))
    weights = np.array([each[name] for name in speakers])
    shares: np.ndarray = weights / weights.sum()
    return shares


def lower_halves(crops: U8) -> Tensor:
    """Lower halves uint8 [t 3 h/2 w] of crops [t h w 3]: what the sync encoders look at."""
    return torch.from_numpy(crops[:, crops.shape[1] // 2 :]).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class SyncBatch:
    """`clips` x `per_clip` windows, those of a clip in a row."""

    lower: Tensor
    """Lower halves [clips per_clip t 3 h w], uint8."""
    mel: Tensor
    """[clips per_clip m f] in dB."""


def heard(store: ClipStore, index: int, rng: np.random.Generator, room: RoomAugment | None = None) -> Tensor:
    """The mel [m f] of a clip, in one of its voices where the store has several, in a drawn room if `room` is given."""
    variants = store.variants(index)
    mel = variants[int(rng.integers(len(variants)))] if len(variants) > 1 else variants[0]
    return mel if room is None else in_room(mel, rng, room, store.features)


def sync_windows(
    store: ClipStore,
    rng: np.random.Generator,
    *,
    clips: int,
    per_clip: int,
    frames: int,
    step: int,
    room: RoomAugment | None = None,
) -> SyncBatch:
    """Windows of `frames` frames with their mel (`step` mel frames each): other windows of a clip are the hard ones."""
    weights = speaker_weights(store.speakers)
    lower, mel = [], []
    for index in rng.choice(len(store), size=clips, replace=clips > len(store), p=weights):
        clip = store[int(index)]
        last = clip.frames - frames + 1
        starts = rng.choice(last, size=per_clip, replace=per_clip > last)
        sound = heard(store, int(index), rng, room)
        for start in starts:
            lower.append(clip.crops[start : start + frames, clip.crops.shape[1] // 2 :])
            mel.append(sound[start * step : (start + frames) * step])
    # stacked with colours last, as they lie: a transposed copy would cost ten times as much
    pixels, sounds = torch.from_numpy(np.stack(lower)).permute(0, 1, 4, 2, 3), torch.stack(mel)
    return SyncBatch(pixels.view(clips, per_clip, *pixels.shape[1:]), sounds.view(clips, per_clip, *sounds.shape[1:]))


@dataclass(frozen=True)
class ClipBatch:
    """Stretches of one length from several clips."""

    clips: tuple[int, ...]
    starts: tuple[int, ...]
    mel: Tensor
    """[b m f] in dB."""


def stretches(
    store: ClipStore,
    rng: np.random.Generator,
    *,
    clips: int,
    frames: int,
    step: int,
    room: RoomAugment | None = None,
    power: float = 0.5,
) -> ClipBatch:
    """`frames` consecutive frames of random clips; clips that are too short are not drawn.

    `power` as `speaker_weights` takes it. Raises DataError when all of them are too short.
    """
    lengths = np.array([store.frames(i) for i in range(len(store))])
    if lengths.max() < frames:
        raise DataError(
            f"corpus: expected clips of {frames} frames, found the longest of {lengths.max()}; prepare longer clips or "
            "use a preset with shorter stretches"
        )
    weights = speaker_weights(store.speakers, power) * (lengths >= frames)
    chosen = rng.choice(len(store), size=clips, p=weights / weights.sum())
    starts = [int(rng.integers(store.frames(int(i)) - frames + 1)) for i in chosen]
    mel = [heard(store, int(i), rng, room)[s * step : (s + frames) * step] for i, s in zip(chosen, starts, strict=True)]
    return ClipBatch(tuple(int(i) for i in chosen), tuple(starts), torch.stack(mel))


def resample(curves: Tensor, length: int) -> Tensor:
    """Curves [b t d] over the same time in `length` steps, linearly in between: faster or slower when they are few."""
    if curves.shape[1] == length:
        return curves
    return torch.nn.functional.interpolate(curves.transpose(1, 2), size=length, mode="linear").transpose(1, 2)


def add_pauses(
    mel: Tensor, target: Tensor, rng: np.random.Generator, *, share: float, floor_db: float
) -> tuple[Tensor, Tensor]:
    """Log-mels [b m f] and motion [b t k] of which a `share` of the rows fall silent for a part, and mouths with them.

    A pause has 12 frames to half of the window; its sound is at most 20 dB above `floor_db`. Mouths take two frames to
    come to rest, and two to leave it.
    """
    frames, step = target.shape[1], mel.shape[1] // target.shape[1]
    mel, target = mel.clone(), target.clone()
    for row in np.flatnonzero(rng.random(len(mel)) < share):
        length = int(rng.integers(min(12, frames), max(13, frames // 2)))
        start = int(rng.integers(max(1, frames - length + 1)))
        quiet_db = floor_db + rng.uniform(0, 20)
        mel[row, start * step : (start + length) * step] = mel[row, start * step : (start + length) * step].clamp(
            max=quiet_db
        )
        place = torch.arange(frames)
        inside = torch.minimum(place - start + 1, start + length - place).clamp(0, 3)
        target[row] *= (1 - inside / 3)[:, None]
    return mel, target
