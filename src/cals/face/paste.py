"""Bringing a generated crop back into the frame."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.sampling import covered_box, warp
from cals.types import F32, U8, Box, CropTransform, Patch, Picture

_OFFSET_CELLS = 16
"""The colour offset lives on a grid of so many cells a side: low frequencies only."""
_OFFSET_SPREAD_CELLS = 3.0
_OFFSET_LIMIT = 24.0
"""Largest colour correction, in levels of 255."""
_OUTLIER = 20.0
"""A rim pixel that differs by more levels than this shows other content rather than other colour: it counts little."""
_KEEP_DETAIL = 6.0
"""Where the generated crop is within about so many levels of the original one, the frame's own detail is kept."""
_DETAIL_BLUR_PX = 2.0


def paste(
    picture: Picture,
    transform: CropTransform,
    original_crop: U8,
    generated_crop: U8,
    mask: F32,
    strength: float = 1.0,
) -> Patch:
    """The generated crop laid into `picture` where `mask` says, as a patch of the smallest box.

    The colour is matched along the mask's rim; the detail of the frame that a crop of this size cannot hold is
    kept where the generated crop agrees with the original one, so that an unchanged crop leaves the frame as it
    is. `strength` 0..1 scales the mask; 0 gives an empty patch. Crops are uint8 [size size 3].
    """
    box = _paste_box(transform, mask, picture.width, picture.height) if strength > 0 else None
    if box is None:
        return Patch(box=Box(0, 0, 0, 0), rgb=np.zeros((0, 0, 3), np.uint8), alpha=np.zeros((0, 0), np.float32))
    to_box = np.array(transform.inverse, dtype=np.float64)
    to_box[:, 2] -= (box.x0, box.y0)
    original, generated = original_crop.astype(np.float32), generated_crop.astype(np.float32)
    matched = generated + colour_offset(original, generated, mask)
    agreement = _agreement(original, matched)
    planes = np.dstack([matched, original * agreement[..., None], agreement, mask]).astype(np.float32)
    # warped together: [new 3, old as the crop knows it 3, agreement, alpha]
    warped = _warp_planes(planes, to_box, box)
    old = picture.rgb(box).astype(np.float32)
    # the frame's detail is what is left of it when the crop's version is taken away
    rgb = warped[..., :3] + warped[..., 6:7] * old - warped[..., 3:6]
    alpha = np.clip(warped[..., 7], 0, 1) * np.float32(min(strength, 1.0))
    return Patch(
        box=box,
        rgb=np.clip(np.rint(rgb), 0, 255).astype(np.uint8),
        alpha=alpha.astype(np.float32),
    )


def colour_offset(original: F32, generated: F32, mask: F32) -> F32:
    """Smooth offset [size size 3] that brings `generated` to the colour of `original` along the mask's rim.

    Zero where the two agree, never more than `_OFFSET_LIMIT` levels.
    """
    size = mask.shape[0]
    cells = (_OFFSET_CELLS, _OFFSET_CELLS)
    difference = np.clip(original - generated, -2 * _OFFSET_LIMIT, 2 * _OFFSET_LIMIT)
    likely = np.exp(-((np.abs(difference).mean(axis=2) / _OUTLIER) ** 2))
    rim = 4 * mask * (1 - mask) * (likely + 0.02)
    total = cv2.resize(rim, cells, interpolation=cv2.INTER_AREA)
    weighted = cv2.resize(difference * rim[..., None], cells, interpolation=cv2.INTER_AREA)
    total = cv2.GaussianBlur(total, (0, 0), _OFFSET_SPREAD_CELLS)
    weighted = cv2.GaussianBlur(weighted, (0, 0), _OFFSET_SPREAD_CELLS)
    offset = np.asarray(weighted) / (np.asarray(total)[..., None] + 1e-6)
    grown = cv2.resize(offset, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(grown, -_OFFSET_LIMIT, _OFFSET_LIMIT), dtype=np.float32)


def _agreement(original: F32, matched: F32) -> F32:
    """1 where the crops are equal, towards 0 where they show different things, smooth; [size size]."""
    difference = cv2.GaussianBlur(np.abs(original - matched).max(axis=2), (0, 0), _DETAIL_BLUR_PX)
    return np.asarray(np.exp(-((np.asarray(difference) / _KEEP_DETAIL) ** 2)), dtype=np.float32)


def _warp_planes(planes: F32, to_box: NDArray[Any], box: Box) -> F32:
    """`warp` of more than four planes; cv2 takes at most four at a time."""
    parts = [warp(np.ascontiguousarray(planes[..., i : i + 4]), to_box, box.width, box.height) for i in (0, 4)]
    return np.concatenate(parts, axis=2)


def _paste_box(transform: CropTransform, mask: F32, width: int, height: int) -> Box | None:
    """Frame box that holds all of the mask, None if there is nothing of it in the frame."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    local = np.array(transform.matrix, dtype=np.float64)
    local[:, 2] -= (x0, y0)
    box = covered_box(local, x1 - x0, y1 - y0, margin_px=1).clipped(width, height)
    return box if box.width and box.height else None
