"""Flicker: change of the mouth's inside from frame to frame, against a real mouth that says the same."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.types import U8

F64 = NDArray[np.float64]
_STILL = 1e-9


def compute_changes(crops: U8, regions: NDArray[np.bool_]) -> F64:
    """Compute the mean absolute change from each frame to the next, [t] in levels of 255, of crops [t h w 3].

    The mean is over the pixels in the region [t h w] of both frames; NaN without any, and for the last frame.
    """
    if crops.shape[:3] != regions.shape:
        raise ValueError(f"flicker: expected a region for every crop, found {regions.shape} for {crops.shape}")
    changes = np.full(len(crops), math.nan)
    for i in range(len(crops) - 1):
        mask = regions[i] & regions[i + 1]
        if mask.any():
            changes[i] = np.abs(crops[i + 1][mask].astype(np.float64) - crops[i][mask]).mean()
    return changes


def flicker(generated: NDArray[Any], real: NDArray[Any]) -> float:
    """Compute the mean of generated changes [n] over that of real ones [n]; NaN without any, or for a still real mouth.

    1 is as much change as in the real mouth; more is flicker, less is an inside that is too still.
    """
    if not len(generated) or not len(real) or real.mean() < _STILL:
        return math.nan
    return float(generated.mean() / real.mean())
