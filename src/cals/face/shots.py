"""Telling a cut from motion, flashes and fades, by thumbnails."""

from enum import IntEnum
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, Box, Picture

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


_PART_PX = 3
"""Parts of the thumbnail, of so many pixels a side, by which the rest of the picture is compared."""
_PLAIN = 2.0
"""A part with less contrast is the same everywhere and proves nothing."""
_STAYED = 4.0
"""Largest mean difference, in levels, of a part that stayed as it was."""
_REST = 0.6
"""Share of the parts around a face that stay where the face went and the shot goes on. Of 520 cuts between 25 videos
two look so, both before one wall."""
_BODY = 0.8
"""So much of a face's size on either side of it belongs to the person, and all that is below."""


class Shot(IntEnum):
    """Whether a picture continues the one before; where it is doubtful, what is in it has to tell."""

    SAME = 0
    DOUBTFUL = 1
    NEW = 2


class ShotDetector:
    """Says frame by frame whether a new shot starts; feed every frame once, in order."""

    def __init__(self) -> None:
        self._reference: F32 | None = None
        self._before: F32 | None = None
        self._size = (1, 1)
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
        self._before, self._reference, self._seen_s = reference, current, time_s
        self._size = (picture.width, picture.height)
        if reference is None:
            return Shot.SAME
        change = _change(reference, current)
        stands_out = change > _ABOVE_RECENT * self._recent
        # a cut says nothing about how much the new shot moves
        self._recent = 0.0 if change > _CUT else _MEMORY * self._recent + (1 - _MEMORY) * change
        if (stands_out and change > _CUT) or (blank_s > _BLANK_FOR_S and change > _DOUBTFUL):
            return Shot.NEW
        return Shot.DOUBTFUL if stands_out and change > _DOUBTFUL else Shot.SAME

    def stays_around(self, box: Box) -> bool:
        """Whether the last picture shows what the one before did, but for a person with their face in `box`."""
        if self._before is None or self._reference is None:
            return False
        scale = np.array(_SIZE) / self._size
        side = _BODY * box.width
        x0, x1 = (round(float(x * scale[0])) for x in (box.x0 - side, box.x1 + side))
        top = round(float((box.y0 - _BODY * box.height) * scale[1]))
        rest = np.ones(_SIZE[::-1], dtype=bool)
        rest[max(top, 0) :, max(x0, 0) : max(x1, 0)] = False
        kept, differs = _parts(rest), _parts(np.abs(self._reference - self._before))
        spread = _parts(self._before**2) - _parts(self._before) ** 2
        telling = (kept == 1) & (np.maximum(spread, 0) ** 0.5 >= _PLAIN)
        return bool(telling.any() and (differs[telling] <= _STAYED).mean() >= _REST)


def _parts(values: NDArray[Any]) -> NDArray[np.float64]:
    """Means over the parts of a thumbnail."""
    columns, rows = (side // _PART_PX for side in _SIZE)
    parted = np.asarray(values, dtype=np.float64).reshape(rows, _PART_PX, columns, _PART_PX)
    return np.asarray(parted.mean(axis=(1, 3)))


def _change(reference: F32, current: F32) -> float:
    """1 - correlation, which a change of exposure leaves alone."""
    a, b = reference - reference.mean(), current - current.mean()
    return 1.0 - float((a * b).sum()) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-3)
