"""Interlaced pictures as a face tracker should see them: one moment, not two."""

import cv2
import numpy as np

from cals.media.color import Plane

_COMB = 6.0
"""A row that differs from both its neighbours by more levels of 255 than this, in the same sense, is from another
moment."""
_AROUND = (9, 5)
"""Columns and rows of a comb's surroundings, which belong to the same motion."""
_SHARE = 0.2
"""The share of combed samples around one at which it is replaced altogether."""


def merge_fields(plane: Plane, bits: int) -> Plane:
    """One plane [h w] as its upper field saw it: where the lower one shows combs, the mean of the rows around it.

    What stands still keeps both fields, and so its full resolution.
    """
    height = plane.shape[0] - plane.shape[0] % 2
    if height < 4:
        return plane
    upper = plane[0:height:2].astype(np.float32)
    lower = plane[1:height:2].astype(np.float32)
    below = np.concatenate([upper[1:], upper[-1:]])
    above_step, below_step = lower - upper, lower - below
    limit = (_COMB * (1 << (bits - 8))) ** 2
    combed = (above_step * below_step > limit).astype(np.float32)
    share = np.asarray(cv2.blur(combed, _AROUND)) / _SHARE
    weight = np.clip(share, 0, 1)
    merged = plane.copy()
    merged[1:height:2] = np.rint(lower + weight * ((upper + below) / 2 - lower))
    return merged
