"""Bringing a generated crop back into the frame."""

import cv2
import numpy as np

from cals.face.sampling import covered_box, warp
from cals.types import F32, U8, Box, CropTransform, Patch, Picture, affine_inverse

_CELL_PX = 8
"""The colour offset lives on a grid of cells of so many crop pixels: low frequencies only."""
_SPREAD_CELLS = 3.0
_OFFSET_LIMIT = 24.0
"""Largest colour correction, in levels of 255."""
_OUTLIER = 20.0
"""A rim pixel that differs by more levels than this shows other content rather than other colour: it counts little."""
_KEEP_DETAIL = 6.0
"""Where the generated crop is within about so many levels of the original one, the frame's own detail is kept."""
_DETAIL_BLUR_PX = 2.0
_RIM_PX = 3
_NOTHING = Patch(box=Box(0, 0, 0, 0), rgb=np.zeros((0, 0, 3), np.uint8), alpha=np.zeros((0, 0), np.float32))


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
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if strength <= 0 or not len(rows):
        return _NOTHING
    # only the mask's part of the crop is worked on, with a rim for the filters
    y0, y1 = max(int(rows[0]) - _RIM_PX, 0), int(rows[-1]) + 1 + _RIM_PX
    x0, x1 = max(int(columns[0]) - _RIM_PX, 0), int(columns[-1]) + 1 + _RIM_PX
    part = np.s_[y0:y1, x0:x1]
    alpha_crop = mask[part]
    to_part = np.array(transform.matrix, dtype=np.float64)
    to_part[:, 2] -= (x0, y0)
    height, width = alpha_crop.shape
    box = covered_box(to_part, width, height, margin_px=0).clipped(picture.width, picture.height)
    if not box.width or not box.height:
        return _NOTHING
    original, generated = original_crop[part].astype(np.float32), generated_crop[part].astype(np.float32)
    matched = generated + colour_offset(original, generated, alpha_crop)
    agreement = _agreement(original, matched)
    to_box = affine_inverse(to_part)
    to_box[:, 2] -= (box.x0, box.y0)
    # what the frame shows beyond the crop's own version of it is the detail: new + agreement * (old - original)
    new = warp(matched - agreement[..., None] * original, to_box, box.width, box.height)
    weights = warp(np.dstack([agreement, alpha_crop]), to_box, box.width, box.height)
    new += weights[..., :1] * picture.rgb(box)
    alpha = np.clip(weights[..., 1], 0, 1) * np.float32(min(strength, 1.0))
    rgb = np.rint(np.clip(new, 0, 255)).astype(np.uint8)
    return Patch(box=box, rgb=rgb, alpha=alpha.astype(np.float32))


def colour_offset(original: F32, generated: F32, mask: F32) -> F32:
    """Smooth offset [h w 3] that brings `generated` to the colour of `original` along the mask's rim.

    Zero where the two agree, never more than `_OFFSET_LIMIT` levels.
    """
    height, width = mask.shape
    cells = (max(1, width // _CELL_PX), max(1, height // _CELL_PX))
    difference = np.clip(original - generated, -2 * _OFFSET_LIMIT, 2 * _OFFSET_LIMIT)
    likely = np.exp(-((np.abs(difference).mean(axis=2) / _OUTLIER) ** 2))
    rim = 4 * mask * (1 - mask) * (likely + 0.02)
    total = cv2.resize(rim, cells, interpolation=cv2.INTER_AREA)
    weighted = cv2.resize(difference * rim[..., None], cells, interpolation=cv2.INTER_AREA)
    total = cv2.GaussianBlur(total, (0, 0), _SPREAD_CELLS)
    weighted = cv2.GaussianBlur(weighted, (0, 0), _SPREAD_CELLS)
    offset = np.asarray(weighted) / (np.asarray(total)[..., None] + 1e-6)
    grown = cv2.resize(offset, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(grown, -_OFFSET_LIMIT, _OFFSET_LIMIT), dtype=np.float32)


def _agreement(original: F32, matched: F32) -> F32:
    """1 where the crops are equal, towards 0 where they show different things, smooth; [h w]."""
    difference = cv2.GaussianBlur(np.abs(original - matched).max(axis=2), (0, 0), _DETAIL_BLUR_PX)
    return np.asarray(np.exp(-((np.asarray(difference) / _KEEP_DETAIL) ** 2)), dtype=np.float32)
