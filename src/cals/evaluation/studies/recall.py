"""What the sound recalls of the lips, against what the lips are: errors on clips that taught nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from cals.data.store import LoadedClip
from cals.evaluation.studies.common import Pick
from cals.metrics.bootstrap import F64, Estimate, share_estimate
from cals.models.synctalk import SyncTalkFace

BY_SOUND, BY_LIPS, RIDGE, MEAN = "recalled by sound", "recalled by lips", "ridge regression", "mean"
"""Predictions of a frame's lip feature: as at inference; as the real frame itself recalls it, the most that the slots
can say; straight from the audio code, without a memory; and that of all training frames."""
PENALTIES = tuple(10.0**power for power in range(-5, 3))
"""Of the ridge regression, times the inputs' mean variance: the best one on training clips held out for it is taken."""
HELD_BACK = 5
"""Every so many training clips one is held out to choose the penalty."""


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """What the model makes of one clip, frame by frame."""

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
    """How the sound addresses the slots, [t s]."""
    value_address: F64
    """How the real frames do, [t s]."""


@torch.inference_mode()
def encode_clip(model: SyncTalkFace, pick: Pick, clip: LoadedClip) -> ClipFeatures:
    """The clip through both encoders and the memory of a model that has one."""
    assert model.memory is not None
    assert model.lips is not None
    device = model.join.weight.device
    crops = torch.from_numpy(clip.crops).to(device).permute(0, 3, 1, 2).float() / 255
    audio, lips = model.window(clip.mel[None].to(device))[0], model.lips(crops[None])[0]
    key, value = model.memory.address_by_audio(audio), model.memory.address_by_lips(lips)
    parts = audio, lips, model.memory.recall(key), model.memory.recall(value), key, value
    return ClipFeatures(pick, *(part.double().cpu().numpy() for part in parts))


class Ridge(NamedTuple):
    """A linear map with a constant, which is all it says of inputs that say nothing."""

    input_mean: F64
    target_mean: F64
    weights: F64
    penalty: float

    def predict(self, inputs: F64) -> F64:
        """[t d] -> [t k]."""
        found: F64 = self.target_mean + (inputs - self.input_mean) @ self.weights
        return found


def fit_ridge(clips: Sequence[tuple[F64, F64]], penalty: float) -> Ridge:
    """The ridge regression of targets [t k] from inputs [t d] over all clips."""
    inputs, targets = (np.concatenate(part) for part in zip(*clips, strict=True))
    input_mean, target_mean = inputs.mean(axis=0), targets.mean(axis=0)
    apart = inputs - input_mean
    gram = apart.T @ apart
    weight = penalty * (np.trace(gram) / len(gram) + 1e-12)
    weights = np.linalg.solve(gram + weight * np.eye(len(gram)), apart.T @ (targets - target_mean))
    return Ridge(input_mean, target_mean, weights, penalty)


def choose_ridge(clips: Sequence[tuple[F64, F64]]) -> Ridge:
    """The regression over all clips, two or more, with the penalty that is best on those held out to choose it."""
    held = list(clips[::HELD_BACK])
    rest = [clip for place, clip in enumerate(clips) if place % HELD_BACK]

    def error(penalty: float) -> float:
        ridge = fit_ridge(rest, penalty)
        return sum(float(np.square(ridge.predict(inputs) - targets).sum()) for inputs, targets in held)

    return fit_ridge(clips, min(PENALTIES, key=error))


def squared_errors(clip: ClipFeatures, ridge: Ridge) -> dict[str, float]:
    """Squared error of each prediction of the clip's lip features, mean over frames, summed over the width."""
    predicted = {
        BY_SOUND: clip.by_sound,
        BY_LIPS: clip.by_lips,
        RIDGE: ridge.predict(clip.audio),
        MEAN: np.broadcast_to(ridge.target_mean, clip.lips.shape),
    }
    return {name: float(np.square(found - clip.lips).sum(axis=1).mean()) for name, found in predicted.items()}


def relative_errors(clips: Iterable[tuple[int, dict[str, float]]], seed: int) -> dict[str, Estimate]:
    """Errors as shares of that of the mean, over clips of so many frames and with such errors; intervals over clips."""
    counted = [(frames, errors) for frames, errors in clips]
    frames = np.array([number for number, _ in counted], dtype=np.float64)
    errors = {name: frames * np.array([each[name] for _, each in counted]) for name in counted[0][1]}
    return {name: share_estimate(found, errors[MEAN], seed) for name, found in errors.items() if name != MEAN}
