"""Small pictures of a mouth, sampled from aligned crops."""

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.sampling import sample_smooth
from cals.types import F32, U8

PATCH_PX = (18, 12)
"""Width and height of a patch."""
PATCH_OVERSAMPLING = 2
"""Samples per pixel of a patch and axis."""
PATCH_VALUES = 3 * PATCH_PX[0] * PATCH_PX[1]
_LIGHT_REGION = np.s_[70:120, 30:98]
"""Region of a crop of 128 px in which its light is measured."""


def measure_light(crop: U8) -> F32:
    """Measure the mean colour [3] of a crop's lower face, in 0..1."""
    return np.array(cv2.mean(crop[_LIGHT_REGION])[:3], np.float32) / np.float32(255)


def sample_patches(crops: U8, places: NDArray[np.floating]) -> F32:
    """Sample patches [n p] of crops [n 128 128 3] at `places` [n y x 2] in pixels, relative to the face's brightness.

    So neither lamp nor exposure counts. `places` has `PATCH_OVERSAMPLING` samples a pixel, which are averaged.
    """
    patches = np.empty((len(crops), PATCH_PX[1], PATCH_PX[0], 3), np.float32)
    for patch, crop, crop_places in zip(patches, crops, places, strict=True):
        patch[:] = cv2.resize(sample_smooth(crop, crop_places), PATCH_PX, interpolation=cv2.INTER_AREA)
        patch /= max(255 * float(measure_light(crop).mean()), 1.0)
    return patches.reshape(len(crops), PATCH_VALUES)
