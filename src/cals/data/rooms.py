"""Room augmentation: it needs all of a clip's sound, so it comes before windows are cut from it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.errors import ConfigError
from cals.features.mel import MelConfig

F64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RoomAugment:
    """Reverberation and a level that drifts; the direct sound stays in its mel frame."""

    reverb: float = 0.4
    """Probability of reverberation."""
    decay_s: tuple[float, float] = (0.15, 0.8)
    """Time in which the echo falls by 60 dB, at low frequencies; half of it at the highest."""
    direct_db: tuple[float, float] = (0.0, 18.0)
    """Level of the direct sound over all of the echo's."""
    drift: float = 0.4
    """Probability of a drifting level."""
    drift_db: float = 6.0
    drift_s: float = 0.7
    """Time in which it goes from one level to the next."""

    def __post_init__(self) -> None:
        if not 0 < self.decay_s[0] <= self.decay_s[1]:
            raise ConfigError(f"decay_s: expected 0 < low <= high, found {self.decay_s}")
        if self.drift_s <= 0:
            raise ConfigError(f"drift_s: expected a time above 0, found {self.drift_s}")


def apply_room(mel: Tensor, rng: np.random.Generator, config: RoomAugment, features: MelConfig) -> Tensor:
    """Add the reverberation and level drift of a random room to a clip's log-mel [m f] in dB."""
    hop_s = features.timing.hop / features.timing.sample_rate_hz
    has_echo, has_drift = rng.random(2) < (config.reverb, config.drift)
    decay_s = math.exp(rng.uniform(*np.log(config.decay_s)))
    direct_db = rng.uniform(*config.direct_db)
    knots = math.ceil(len(mel) * hop_s / config.drift_s) + 1
    levels_db = rng.uniform(-config.drift_db, config.drift_db, knots)
    out = mel.numpy().astype(np.float64)
    if has_echo:
        power = 10 ** (out / 10)
        out = 10 * np.log10(power + 10 ** (-direct_db / 10) * _compute_echo(power, decay_s / hop_s))
    if has_drift:
        position = np.arange(len(out)) * hop_s / config.drift_s
        out = out + np.interp(position, np.arange(knots), levels_db)[:, None]
    return torch.from_numpy(np.maximum(out, features.floor_db).astype(np.float32))


def _compute_echo(power: F64, decay: float) -> F64:
    """Compute the reverberation of mel power [m f]: a tail of sum 1 that falls by 60 dB in `decay` mel frames."""
    bins = power.shape[1]
    decay_factor = 10 ** (-6 / (decay * np.linspace(1, 0.5, bins)))
    excitation = (1 - decay_factor) * power
    tail, echo = np.zeros(bins), np.empty_like(power)
    for i in range(len(power)):
        echo[i] = tail
        tail = decay_factor * tail + excitation[i]
    return echo
