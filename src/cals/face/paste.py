"""Pasting of a generated crop back into the frame."""

import cv2
import numpy as np

from cals.face.sampling import average_colours, compute_source_box, warp
from cals.types import F32, U8, Box, CropTransform, Patch, Picture, invert_affine

_CELL_PX = 8
"""Cell size, in crop pixels, of the grid of the colour offset, which holds low frequencies only."""
_BLUR_CELLS = 3.0
_MAX_OFFSET = 24.0
"""Largest colour correction, in levels of 255."""
_OUTLIER_LEVELS = 20.0
"""A rim pixel that differs by more levels than this shows other content, not other colour: it has little weight."""
_DETAIL_LEVELS = 6.0
"""Where the generated crop is within about this many levels of the original one, the detail of the frame is kept."""
_DETAIL_BLUR_PX = 2.0
_RIM_PX = 3
EMPTY_PATCH = Patch(box=Box(0, 0, 0, 0), rgb=np.zeros((0, 0, 3), np.uint8), alpha=np.zeros((0, 0), np.float32))


def paste(
    picture: Picture,
    transform: CropTransform,
    original_crop: U8,
    generated_crop: U8,
    mask: F32,
    strength: float = 1.0,
) -> Patch:
    """Paste the generated crop into `picture` where `mask` is set, as a patch of the smallest box.

    The colour is matched along the rim of the mask. Detail of the frame beyond the resolution of the crop is kept
    where the generated crop agrees with the original one. So an unchanged crop leaves the frame unchanged.
    `strength` 0..1 scales the mask; 0 gives an empty patch. Crops are uint8 [size size 3].
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if strength <= 0 or not len(rows):
        return EMPTY_PATCH
    # only the masked part of the crop is processed, with a rim for the filters
    y0, y1 = max(int(rows[0]) - _RIM_PX, 0), int(rows[-1]) + 1 + _RIM_PX
    x0, x1 = max(int(columns[0]) - _RIM_PX, 0), int(columns[-1]) + 1 + _RIM_PX
    part = np.s_[y0:y1, x0:x1]
    alpha_crop = mask[part]
    to_part = np.array(transform.matrix, dtype=np.float64)
    to_part[:, 2] -= (x0, y0)
    height, width = alpha_crop.shape
    box = compute_source_box(to_part, width, height, margin_px=0).clip(picture.width, picture.height)
    if not box.width or not box.height:
        return EMPTY_PATCH
    original, generated = original_crop[part].astype(np.float32), generated_crop[part].astype(np.float32)
    matched = generated + estimate_colour_offset(original, generated, alpha_crop)
    agreement = _compute_agreement(original, matched)
    to_box = invert_affine(to_part)
    to_box[:, 2] -= (box.x0, box.y0)
    # detail is the difference of the frame from its crop: pasted + agreement * (frame - original crop)
    pasted = warp(matched - agreement[..., None] * original, to_box, box.width, box.height)
    weights = warp(np.dstack([agreement, alpha_crop]), to_box, box.width, box.height)
    pasted += weights[..., :1] * picture.rgb(box)
    alpha = np.clip(weights[..., 1], 0, 1) * np.float32(min(strength, 1.0))
    rgb = np.rint(np.clip(pasted, 0, 255)).astype(np.uint8)
    return Patch(box=box, rgb=rgb, alpha=alpha.astype(np.float32))


def estimate_colour_offset(original: F32, generated: F32, mask: F32) -> F32:
    """Estimate a smooth offset [h w 3] from the colour of `generated` to that of `original` along the mask's rim.

    Zero where the two agree, at most `_MAX_OFFSET` levels.
    """
    height, width = mask.shape
    cells = (max(1, width // _CELL_PX), max(1, height // _CELL_PX))
    difference = np.clip(original - generated, -2 * _MAX_OFFSET, 2 * _MAX_OFFSET)
    inlier_weights = np.exp(-((average_colours(np.abs(difference)) / _OUTLIER_LEVELS) ** 2))
    rim = 4 * mask * (1 - mask) * (inlier_weights + 0.02)
    weight_sum = cv2.resize(rim, cells, interpolation=cv2.INTER_AREA)
    weighted_sum = cv2.resize(difference * rim[..., None], cells, interpolation=cv2.INTER_AREA)
    weight_sum = cv2.GaussianBlur(weight_sum, (0, 0), _BLUR_CELLS)
    weighted_sum = cv2.GaussianBlur(weighted_sum, (0, 0), _BLUR_CELLS)
    offset = np.asarray(weighted_sum) / (np.asarray(weight_sum)[..., None] + 1e-6)
    resized = cv2.resize(offset, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(resized, -_MAX_OFFSET, _MAX_OFFSET), dtype=np.float32)


def _compute_agreement(original: F32, matched: F32) -> F32:
    """Compute a smooth map [h w], 1 where the crops are equal, towards 0 where their content differs."""
    difference = cv2.GaussianBlur(np.abs(original - matched).max(axis=2), (0, 0), _DETAIL_BLUR_PX)
    return np.asarray(np.exp(-((np.asarray(difference) / _DETAIL_LEVELS) ** 2)), dtype=np.float32)
