"""Similarity of identity between two aligned faces, without an identity network.

No identity network with a free licence is available. Faces are compared by histograms of oriented gradients (Dalal and
Triggs, 2005) over the inner face. On GRID (14 speakers; frames of different clips, one of each pair with other gamma,
colours, blur and noise) a pair of one person is more similar than a pair of two persons in 99.9 % of the draws (AUC;
98.9 % without the pairs within s1, who has most clips): `benchmarks/metrics.py`.
Those clips of one person were recorded in one session, from the front. The metric is not valid across pose, light or
years, nor for whether people would recognise the face. It detects a face that turns into another person's.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8

SAME_PERSON_SIMILARITY, OTHER_PERSON_SIMILARITY = 0.937, 0.837
"""Mean similarity of GRID's frames of one person in different clips, and of two persons; deviations 0.021 and 0.023."""

_CELLS, _BINS = 16, 9
_BLUR = 1 / 128
"""Standard deviation as a share of the crop; it removes noise and codec blocks."""
_MIN_ENERGY = 30.0
"""Gradient energy of nine cells below which they count as skin without edges."""
_CENTRE, _RADII = (0.5, 0.516), (0.3125, 0.39)
"""The ellipse of the inner face, x and y, as shares of the crop: no hair, no background."""


def identity_similarity(generated: U8, reference: U8) -> float:
    """Compute the mean cosine between all pairs of aligned crops [t size size 3] and [n size size 3]; 1 when equal.

    `SAME_PERSON_SIMILARITY` and `OTHER_PERSON_SIMILARITY` are reference values. Crops are those of `face.align`,
    of any multiple of 16 px.
    """
    return float(mean_identity_features(generated) @ mean_identity_features(reference))


def mean_identity_features(crops: U8) -> NDArray[np.float64]:
    """Compute the mean of `identity_features` over crops [t size size 3]; the product of two is a mean similarity."""
    if not len(crops):
        raise ValueError("identity: expected one crop or more, found none")
    return np.asarray(np.mean([identity_features(crop) for crop in crops], axis=0, dtype=np.float64))


def identity_features(crop: U8) -> F32:
    """Compute histograms of the inner face's gradients by cell and direction, [cells x 9], of length 1."""
    size = crop.shape[0]
    if crop.shape[1] != size or size % _CELLS:
        raise ValueError(f"identity: expected square crops of a multiple of {_CELLS} px, found {crop.shape}")
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = cv2.GaussianBlur(grey, (0, 0), _BLUR * size)  # type: ignore[assignment]
    gradient_x, gradient_y = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=1)
    angle = np.arctan2(gradient_y, gradient_x) % np.pi * (_BINS / np.pi)
    lower_bin = np.floor(angle)
    fraction, magnitude = angle - lower_bin, np.hypot(gradient_x, gradient_y)
    cell = _compute_pixel_cells(size) * _BINS
    histograms = np.zeros(_CELLS * _CELLS * _BINS)
    for bin_index, weight in (
        (lower_bin, 1 - fraction),
        (lower_bin + 1, fraction),
    ):  # each gradient goes to the nearest two
        index = cell + bin_index.astype(np.int64) % _BINS
        histograms += np.bincount(index.ravel(), (magnitude * weight).ravel(), len(histograms))
    cells = histograms.reshape(_CELLS, _CELLS, _BINS)
    energy = 9 * np.asarray(cv2.blur((cells**2).sum(axis=-1), (3, 3), borderType=cv2.BORDER_CONSTANT))
    features = np.sqrt(cells / np.sqrt(energy + _MIN_ENERGY)[..., None])[_build_inner_face_mask()].ravel()
    return np.asarray(features / max(float(np.linalg.norm(features)), 1e-12), dtype=np.float32)


@lru_cache(maxsize=4)
def _compute_pixel_cells(size: int) -> NDArray[np.int64]:
    """Return the index of each pixel's cell, [size size]."""
    cell = np.arange(size) * _CELLS // size
    return np.asarray(cell[:, None] * _CELLS + cell[None], dtype=np.int64)


@lru_cache(maxsize=1)
def _build_inner_face_mask() -> NDArray[np.bool_]:
    """Return the mask [16 16] of cells whose middle lies in the ellipse."""
    centre = (np.arange(_CELLS) + 0.5) / _CELLS
    x, y = (centre - _CENTRE[0]) / _RADII[0], (centre - _CENTRE[1]) / _RADII[1]
    return np.asarray(x[None] ** 2 + y[:, None] ** 2 < 1)
