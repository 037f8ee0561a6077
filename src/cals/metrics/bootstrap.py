"""Confidence intervals of figures over many clips: bootstrap over clips (Efron and Tibshirani, 1993).

Clips are resampled, not frames or words: those of one clip share its light, its face and its faults, so that an
interval from single frames would be too narrow.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
RESAMPLES = 2000


class Estimate(NamedTuple):
    """A value with its 95 % interval, which a single clip does not have."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        interval = "" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.value:.3f}{interval}"


@lru_cache(maxsize=4)
def sample_clip_counts(clips: int, seed: int = 0) -> F64:
    """Return the weight of each clip, [1 + RESAMPLES, clips]: 1 each, then counts of samples with replacement.

    Cached, since a report needs the same ones many times; read-only.
    """
    rng = np.random.default_rng(seed)
    resampled = rng.multinomial(clips, np.full(clips, 1 / clips), size=RESAMPLES)
    counts = np.concatenate([np.ones((1, clips)), resampled])
    counts.setflags(write=False)
    return counts


def estimate_interval(replicates: F64, clips: int) -> Estimate:
    """Return the first of the replicates [r] and the 95 % interval of the others; NaN among them are ignored."""
    finite = replicates[1:][np.isfinite(replicates[1:])]
    if clips < 2 or not len(finite) or not math.isfinite(replicates[0]):
        return Estimate(float(replicates[0]))
    low, high = np.percentile(finite, [2.5, 97.5])
    return Estimate(float(replicates[0]), float(low), float(high))


def estimate_mean(values: F64, seed: int = 0) -> Estimate:
    """Estimate the mean of one value per clip, [n]; NaN for none."""
    if not len(values):
        return Estimate(math.nan)
    return estimate_interval(sample_clip_counts(len(values), seed) @ values / len(values), len(values))


def estimate_ratio(parts: F64, wholes: F64, seed: int = 0) -> Estimate:
    """Estimate the sum of parts over the sum of wholes, both [n], one value per clip; NaN without a whole.

    A resample whose whole is 0 has no ratio and is left out.
    """
    if not len(parts) or not wholes.any():
        return Estimate(math.nan)
    counts = sample_clip_counts(len(parts), seed)
    part, whole = counts @ parts.astype(np.float64), counts @ wholes.astype(np.float64)
    return estimate_interval(
        np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan), int(np.count_nonzero(wholes))
    )
