"""How sure a figure of many clips is: bootstrap over clips (Efron and Tibshirani, 1993).

What is drawn again is clips, not frames or words: those of one clip share its light, its face and its faults, so that
one by one they would seem surer than they are.
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
def draws(clips: int, seed: int = 0) -> F64:
    """How often each of the clips counts, [1 + RESAMPLES, clips]: once each, then as drawn with replacement.

    Kept, since a report asks for the same ones again and again; not to be written to.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.multinomial(clips, np.full(clips, 1 / clips), size=RESAMPLES)
    counts = np.concatenate([np.ones((1, clips)), chosen])
    counts.setflags(write=False)
    return counts


def estimate(replicates: F64, clips: int) -> Estimate:
    """The first of the replicates [r] and the interval of the others; those that are NaN have none to say."""
    known = replicates[1:][np.isfinite(replicates[1:])]
    if clips < 2 or not len(known) or not math.isfinite(replicates[0]):
        return Estimate(float(replicates[0]))
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(float(replicates[0]), float(low), float(high))


def mean_estimate(values: F64, seed: int = 0) -> Estimate:
    """The mean of one value a clip, [n]; NaN for none."""
    if not len(values):
        return Estimate(math.nan)
    return estimate(draws(len(values), seed) @ values / len(values), len(values))


def share_estimate(parts: F64, wholes: F64, seed: int = 0) -> Estimate:
    """Sum of parts over sum of wholes, both [n], a value a clip; NaN where there is nothing.

    A draw whose whole is 0 has no share and is left out.
    """
    if not len(parts) or not wholes.any():
        return Estimate(math.nan)
    counts = draws(len(parts), seed)
    part, whole = counts @ parts.astype(np.float64), counts @ wholes.astype(np.float64)
    return estimate(np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan), int(np.count_nonzero(wholes)))
