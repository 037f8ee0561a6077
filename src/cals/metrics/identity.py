"""Whether two aligned faces are the same person's, without an identity network.

No network for identity whose licence is free is at hand, so faces are told apart by where their edges lie: histograms
of oriented gradients (Dalal and Triggs, 2005) over the inner face. On GRID (14 speakers; frames of different clips,
one of each two with other gamma, colours, blur and noise) a pair of one person is more alike than a pair of two
persons in 99.9 % of the draws (AUC; 98.9 % without the pairs within s1, who has most clips): `benchmarks/metrics.py`.
Those clips of one person were recorded in one session, from the front: it is no measure for another pose, light or
year, and none for whether people would know the face again. It does tell a person who turns into somebody else.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8

SAME, OTHERS = 0.937, 0.837
"""Mean similarity of GRID's frames of one person in different clips, and of two persons; deviations 0.021 and 0.023."""

_CELLS, _TURNS = 16, 9
_BLUR = 1 / 128
"""Standard deviation as a share of the crop: noise and codec blocks are no edges."""
_FAINT = 30.0
"""Gradient energy of nine cells below which they count as plain skin."""
_MIDDLE, _RADII = (0.5, 0.516), (0.3125, 0.39)
"""The ellipse of the inner face, x and y, as shares of the crop: no hair, no background."""


def identity_similarity(generated: U8, reference: U8) -> float:
    """Mean cosine between aligned crops [t size size 3] and [n size size 3], each with each; 1 for equal pictures.

    See `SAME` and `OTHERS` for what to compare it with; crops are those of `face.align`, of any multiple of 16 px.
    """
    return float(mean_identity(generated) @ mean_identity(reference))


def mean_identity(crops: U8) -> NDArray[np.float64]:
    """Mean over crops [t size size 3] of `identity_features`; the product of two means is their mean similarity."""
    if not len(crops):
        raise ValueError("identity: expected one crop or more, found none")
    return np.asarray(np.mean([identity_features(crop) for crop in crops], axis=0, dtype=np.float64))


def identity_features(crop: U8) -> F32:
    """Histograms of the inner face's gradients by cell and direction, [cells x 9], of length 1."""
    size = crop.shape[0]
    if crop.shape[1] != size or size % _CELLS:
        raise ValueError(f"identity: expected square crops of a multiple of {_CELLS} px, found {crop.shape}")
    light = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    light = cv2.GaussianBlur(light, (0, 0), _BLUR * size)  # type: ignore[assignment]
    right, down = cv2.Sobel(light, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(light, cv2.CV_32F, 0, 1, ksize=1)
    turn = np.arctan2(down, right) % np.pi * (_TURNS / np.pi)
    below = np.floor(turn)
    share, strength = turn - below, np.hypot(right, down)
    cell = _cell_of_pixel(size) * _TURNS
    histograms = np.zeros(_CELLS * _CELLS * _TURNS)
    for direction, weight in ((below, 1 - share), (below + 1, share)):  # each gradient goes to the nearest two
        index = cell + direction.astype(np.int64) % _TURNS
        histograms += np.bincount(index.ravel(), (strength * weight).ravel(), len(histograms))
    cells = histograms.reshape(_CELLS, _CELLS, _TURNS)
    energy = 9 * np.asarray(cv2.blur((cells**2).sum(axis=-1), (3, 3), borderType=cv2.BORDER_CONSTANT))
    features = np.sqrt(cells / np.sqrt(energy + _FAINT)[..., None])[_inner_face()].ravel()
    return np.asarray(features / max(float(np.linalg.norm(features)), 1e-12), dtype=np.float32)


@lru_cache(maxsize=4)
def _cell_of_pixel(size: int) -> NDArray[np.int64]:
    """Number of the cell each pixel lies in, [size size]."""
    along = np.arange(size) * _CELLS // size
    return np.asarray(along[:, None] * _CELLS + along[None], dtype=np.int64)


@lru_cache(maxsize=1)
def _inner_face() -> NDArray[np.bool_]:
    """The cells whose middle lies in the ellipse, [16 16]."""
    middle = (np.arange(_CELLS) + 0.5) / _CELLS
    x, y = (middle - _MIDDLE[0]) / _RADII[0], (middle - _MIDDLE[1]) / _RADII[1]
    return np.asarray(x[None] ** 2 + y[:, None] ** 2 < 1)
