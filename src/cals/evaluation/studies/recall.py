"""Errors of the lip features that sound recalls, on held-out clips."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from cals.data.store import LoadedClip
from cals.evaluation.studies.common import Pick
from cals.metrics.bootstrap import F64, Estimate, estimate_ratio
from cals.models.synctalk import SyncTalkFace

BY_SOUND, BY_LIPS, RIDGE, MEAN = "recalled by sound", "recalled by lips", "ridge regression", "mean"
"""Predictions of a frame's lip feature: recalled by the audio, as at inference; recalled by the real frame, the best of
the slots; regressed from the audio code, without a memory; and the mean of the training frames."""
PENALTIES = tuple(10.0**power for power in range(-5, 3))
"""Penalties of the ridge regression, times the inputs' mean variance; the best on held-out training clips is used."""
HOLD_OUT_EVERY = 5
"""One in so many training clips is held out to choose the penalty."""


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Features of one clip, frame by frame."""

    pick: Pick
    audio: F64
    """Audio codes [t d]."""
    lips: F64
    """Lip features [t d] of the real frames."""
    by_sound: F64
    """Recalled by the sound, [t d]."""
    by_lips: F64
    """Recalled by the real frames, [t d]."""
    key_address: F64
    """Addresses of the slots by the sound, [t s]."""
    value_address: F64
    """Addresses of the slots by the real frames, [t s]."""


@torch.inference_mode()
def encode_clip(model: SyncTalkFace, pick: Pick, clip: LoadedClip) -> ClipFeatures:
    """Encode a clip by both encoders and the memory of a model that has one."""
    assert model.memory is not None
    assert model.lips is not None
    device = model.join.weight.device
    crops = torch.from_numpy(clip.crops).to(device).permute(0, 3, 1, 2).float() / 255
    audio, lips = model.window(clip.mel[None].to(device))[0], model.lips(crops[None])[0]
    key, value = model.memory.address_by_audio(audio), model.memory.address_by_lips(lips)
    parts = audio, lips, model.memory.recall(key), model.memory.recall(value), key, value
    return ClipFeatures(pick, *(part.cpu().double().numpy() for part in parts))


class Ridge(NamedTuple):
    """Ridge regression with an intercept."""

    input_mean: F64
    target_mean: F64
    weights: F64
    penalty: float

    def predict(self, inputs: F64) -> F64:
        """Predict targets from inputs, [t d] -> [t k]."""
        pred: F64 = self.target_mean + (inputs - self.input_mean) @ self.weights
        return pred


def fit_ridge(clips: Sequence[tuple[F64, F64]], penalty: float) -> Ridge:
    """Fit the ridge regression of targets [t k] from inputs [t d] over all clips."""
    inputs, targets = (np.concatenate(part) for part in zip(*clips, strict=True))
    input_mean, target_mean = inputs.mean(axis=0), targets.mean(axis=0)
    centred = inputs - input_mean
    gram = centred.T @ centred
    weight = penalty * (np.trace(gram) / len(gram) + 1e-12)
    weights = np.linalg.solve(gram + weight * np.eye(len(gram)), centred.T @ (targets - target_mean))
    return Ridge(input_mean, target_mean, weights, penalty)


def choose_ridge(clips: Sequence[tuple[F64, F64]]) -> Ridge:
    """Fit the regression to two or more clips, with the penalty that is best on held-out ones of them."""
    held_out = list(clips[::HOLD_OUT_EVERY])
    rest = [clip for index, clip in enumerate(clips) if index % HOLD_OUT_EVERY]

    def error(penalty: float) -> float:
        ridge = fit_ridge(rest, penalty)
        return sum(float(np.square(ridge.predict(inputs) - targets).sum()) for inputs, targets in held_out)

    return fit_ridge(clips, min(PENALTIES, key=error))


def compute_squared_errors(clip: ClipFeatures, ridge: Ridge) -> dict[str, float]:
    """Compute the squared error of each prediction of lip features, mean over frames, summed over the width."""
    predictions = {
        BY_SOUND: clip.by_sound,
        BY_LIPS: clip.by_lips,
        RIDGE: ridge.predict(clip.audio),
        MEAN: np.broadcast_to(ridge.target_mean, clip.lips.shape),
    }
    return {name: float(np.square(pred - clip.lips).sum(axis=1).mean()) for name, pred in predictions.items()}


def compute_relative_errors(clips: Iterable[tuple[int, dict[str, float]]], seed: int) -> dict[str, Estimate]:
    """Compute errors relative to that of the mean, from (frames, errors) of every clip; intervals over clips."""
    items = [(frames, errors) for frames, errors in clips]
    frames = np.array([number for number, _ in items], dtype=np.float64)
    errors = {name: frames * np.array([each[name] for _, each in items]) for name in items[0][1]}
    return {name: estimate_ratio(values, errors[MEAN], seed) for name, values in errors.items() if name != MEAN}
