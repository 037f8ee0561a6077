"""How much the inside of a mouth changes from one frame to the next, against a real mouth that says the same."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.types import U8

F64 = NDArray[np.float64]
_STILL = 1e-9


def compute_changes(crops: U8, regions: NDArray[np.bool_]) -> F64:
    """Mean absolute change from each frame to the next, [t] in levels of 255, of crops [t h w 3].

    Over the pixels that lie in the region [t h w] of both frames; NaN where there are none, and for the last frame.
    """
    if crops.shape[:3] != regions.shape:
        raise ValueError(f"flicker: expected a region for every crop, found {regions.shape} for {crops.shape}")
    found = np.full(len(crops), math.nan)
    for i in range(len(crops) - 1):
        both = regions[i] & regions[i + 1]
        if both.any():
            found[i] = np.abs(crops[i + 1][both].astype(np.float64) - crops[i][both]).mean()
    return found


def flicker(generated: NDArray[Any], real: NDArray[Any]) -> float:
    """Mean of generated changes [n] over that of the real ones [n]; NaN without any, or if the real mouth is still.

    1 is as restless as the real mouth; more is flicker, less is a mouth that is painted still.
    """
    if not len(generated) or not len(real) or real.mean() < _STILL:
        return math.nan
    return float(generated.mean() / real.mean())
