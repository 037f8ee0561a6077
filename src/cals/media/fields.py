"""Deinterlacing of pictures for the face tracker, which needs one moment, not two."""

import cv2
import numpy as np

from cals.media.color import Plane

_COMB_LEVELS = 6.0
"""A row that differs from both neighbours by more levels of 255 than this, in the same direction, is combed."""
_WINDOW = (9, 5)
"""Columns and rows of the window around a combed sample that count as the same motion."""
_FULL_SHARE = 0.2
"""Share of combed samples in the window at which a sample is replaced entirely."""


def merge_fields(plane: Plane, bits: int) -> Plane:
    """Deinterlace one plane [h w] to its upper field: combed rows of the lower one become the mean of their neighbours.

    Static parts keep both fields, and so their full resolution.
    """
    height = plane.shape[0] - plane.shape[0] % 2
    if height < 4:
        return plane
    upper = plane[0:height:2].astype(np.float32)
    lower = plane[1:height:2].astype(np.float32)
    below = np.concatenate([upper[1:], upper[-1:]])
    above_step, below_step = lower - upper, lower - below
    limit = (_COMB_LEVELS * (1 << (bits - 8))) ** 2
    combed = (above_step * below_step > limit).astype(np.float32)
    share = np.asarray(cv2.blur(combed, _WINDOW)) / _FULL_SHARE
    weight = np.clip(share, 0, 1)
    merged = plane.copy()
    merged[1:height:2] = np.rint(lower + weight * ((upper + below) / 2 - lower))
    return merged
