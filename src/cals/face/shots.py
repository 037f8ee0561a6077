"""Shot boundary detection on thumbnails; motion, flashes and fades are no cuts."""

from enum import IntEnum
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, Box, Picture

_THUMBNAIL_SIZE = (48, 27)
_BLANK_STD = 5.0
"""A thumbnail with less contrast is blank (black, white, a flash): it neither is a cut nor hides one."""
_MAX_BLANK_S = Fraction(1, 4)
"""After a longer blank even a small change counts as a cut."""
_CUT_CHANGE, _DOUBTFUL_CHANGE = 0.3, 0.08
"""Change, 1 - correlation, at a sure and at a possible cut. Between GRID speakers before the same wall it is 0.10 to
0.8 (median 0.33), from frame to frame of one clip at most 0.0007; moving cameras and crossing hands lie between."""
_MIN_CHANGE_RATIO = 4.0
"""The change at a cut is also this many times the mean change of the last frames, else the camera moves."""
_DECAY = 0.8


_OVEREXPOSED = 228.0
"""Level of white, also in limited range."""
_FLASH_SHARE = 0.4
"""A picture whose share of overexposed pixels grows by more than this is a flash and skipped like a blank one."""


_PART_PX = 3
"""Side of the parts of the thumbnail by which the background is compared."""
_MIN_PART_CONTRAST = 2.0
"""A part with less contrast is uniform and is not compared."""
_MAX_PART_CHANGE = 4.0
"""Largest mean difference, in levels, of an unchanged part."""
_MIN_UNCHANGED_SHARE = 0.6
"""Least share of unchanged background parts if a face disappeared within a shot. Of 520 cuts between 25 videos two
exceed it, both before one wall."""
_BODY_MARGIN = 0.8
"""Margin around a face, in face sizes, that belongs to the person, and so does everything below."""


class Shot(IntEnum):
    """Relation of a picture to the shot of the one before; where it is doubtful, the face decides."""

    SAME = 0
    DOUBTFUL = 1
    NEW = 2


class ShotDetector:
    """Detector of new shots; takes every frame once, in order."""

    def __init__(self) -> None:
        self._reference: F32 | None = None
        self._previous: F32 | None = None
        self._size = (1, 1)
        self._last_time_s = Fraction(0)
        self._mean_change = 0.0

    def update(self, picture: Picture, time_s: Fraction) -> Shot:
        """Return how `picture` follows the previous one; the first one counts as the same shot."""
        small = picture.luma(*_THUMBNAIL_SIZE).astype(np.float32)
        current = np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), dtype=np.float32)
        reference, blank_s = self._reference, time_s - self._last_time_s
        flash = (
            reference is not None and (current > _OVEREXPOSED).mean() - (reference > _OVEREXPOSED).mean() > _FLASH_SHARE
        )
        if float(current.std()) < _BLANK_STD or (flash and blank_s <= _MAX_BLANK_S):
            return Shot.SAME
        self._previous, self._reference, self._last_time_s = reference, current, time_s
        self._size = (picture.width, picture.height)
        if reference is None:
            return Shot.SAME
        change = _compute_change(reference, current)
        stands_out = change > _MIN_CHANGE_RATIO * self._mean_change
        # the change at a cut says nothing about the motion of the new shot
        self._mean_change = 0.0 if change > _CUT_CHANGE else _DECAY * self._mean_change + (1 - _DECAY) * change
        if (stands_out and change > _CUT_CHANGE) or (blank_s > _MAX_BLANK_S and change > _DOUBTFUL_CHANGE):
            return Shot.NEW
        return Shot.DOUBTFUL if stands_out and change > _DOUBTFUL_CHANGE else Shot.SAME

    def is_background_unchanged(self, box: Box) -> bool:
        """Return whether the last picture equals the one before, except for a person with their face in `box`."""
        if self._previous is None or self._reference is None:
            return False
        scale = np.array(_THUMBNAIL_SIZE) / self._size
        margin = _BODY_MARGIN * box.width
        x0, x1 = (round(float(x * scale[0])) for x in (box.x0 - margin, box.x1 + margin))
        top = round(float((box.y0 - _BODY_MARGIN * box.height) * scale[1]))
        background = np.ones(_THUMBNAIL_SIZE[::-1], dtype=bool)
        background[max(top, 0) :, max(x0, 0) : max(x1, 0)] = False
        coverage, differences = _average_parts(background), _average_parts(np.abs(self._reference - self._previous))
        variance = _average_parts(self._previous**2) - _average_parts(self._previous) ** 2
        usable = (coverage == 1) & (np.maximum(variance, 0) ** 0.5 >= _MIN_PART_CONTRAST)
        return bool(usable.any() and (differences[usable] <= _MAX_PART_CHANGE).mean() >= _MIN_UNCHANGED_SHARE)


def _average_parts(values: NDArray[Any]) -> NDArray[np.float64]:
    """Average over the parts of a thumbnail."""
    columns, rows = (side // _PART_PX for side in _THUMBNAIL_SIZE)
    blocks = np.asarray(values, dtype=np.float64).reshape(rows, _PART_PX, columns, _PART_PX)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _compute_change(reference: F32, current: F32) -> float:
    """Compute 1 - correlation, which does not depend on exposure."""
    a, b = reference - reference.mean(), current - current.mean()
    return 1.0 - float((a * b).sum()) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-3)
