"""Telling a cut from motion, flashes and fades, by thumbnails."""

from enum import IntEnum
from fractions import Fraction

import cv2
import numpy as np

from cals.types import F32, Picture

_SIZE = (48, 27)
_BLANK_STD = 5.0
"""A thumbnail with less contrast shows nothing (black, white, a flash): it neither is a cut nor hides one."""
_BLANK_FOR_S = Fraction(1, 4)
"""After a longer blank a change counts as a cut even if it is small."""
_CUT, _DOUBTFUL = 0.3, 0.08
"""Drop of correlation, 1 - r, at a sure and at a possible cut. Between GRID speakers before the same wall it is 0.10
to 0.8 (median 0.33), from frame to frame of one clip at most 0.0007; moving cameras and crossing hands lie between."""
_ABOVE_RECENT = 4.0
"""A cut also stands out this much above the mean change of the last frames, else it is a moving camera."""
_MEMORY = 0.8


_BURNT = 228.0
"""White, also in limited range."""
_FLASH = 0.4
"""A picture of which so much more is burnt out than before is a flash and passed over like a blank one."""


class Shot(IntEnum):
    """Whether a picture continues the one before; where it is doubtful, what is in it has to tell."""

    SAME = 0
    DOUBTFUL = 1
    NEW = 2


class ShotDetector:
    """Says frame by frame whether a new shot starts; feed every frame once, in order."""

    def __init__(self) -> None:
        self._reference: F32 | None = None
        self._seen_s = Fraction(0)
        self._recent = 0.0

    def update(self, picture: Picture, time_s: Fraction) -> Shot:
        """How `picture` follows what came before; the very first one counts as the same."""
        small = picture.luma(*_SIZE).astype(np.float32)
        current = np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), dtype=np.float32)
        reference, blank_s = self._reference, time_s - self._seen_s
        flash = reference is not None and (current > _BURNT).mean() - (reference > _BURNT).mean() > _FLASH
        if float(current.std()) < _BLANK_STD or (flash and blank_s <= _BLANK_FOR_S):
            return Shot.SAME
        self._reference, self._seen_s = current, time_s
        if reference is None:
            return Shot.SAME
        change = _change(reference, current)
        stands_out = change > _ABOVE_RECENT * self._recent
        # a cut says nothing about how much the new shot moves
        self._recent = 0.0 if change > _CUT else _MEMORY * self._recent + (1 - _MEMORY) * change
        if (stands_out and change > _CUT) or (blank_s > _BLANK_FOR_S and change > _DOUBTFUL):
            return Shot.NEW
        return Shot.DOUBTFUL if stands_out and change > _DOUBTFUL else Shot.SAME


def _change(reference: F32, current: F32) -> float:
    """1 - correlation, which a change of exposure leaves alone."""
    a, b = reference - reference.mean(), current - current.mean()
    return 1.0 - float((a * b).sum()) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-3)
