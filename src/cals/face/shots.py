"""Telling a cut from motion, flashes and fades, by thumbnails."""

from fractions import Fraction

import cv2
import numpy as np

from cals.types import F32, Picture

_SIZE = (48, 27)
_BLANK_STD = 5.0
"""A thumbnail with less contrast shows nothing (black, white, a flash): it neither is a cut nor hides one."""
_BLANK_FOR_S = Fraction(1, 2)
"""After a longer blank the next picture counts as a new shot in any case."""
_CUT = 0.3
"""Least drop of correlation at a cut: 1 - r of pictures of two GRID speakers before the same wall starts at 0.08,
of two scenes at 0.4; ordinary motion stays below 0.05 a frame."""
_ABOVE_RECENT = 4.0
"""A cut also stands out this much above the mean change of the last frames, else it is a moving camera."""
_MEMORY = 0.8


class ShotDetector:
    """Says frame by frame whether a new shot starts; feed every frame once, in order."""

    def __init__(self) -> None:
        self._reference: F32 | None = None
        self._seen_s = Fraction(0)
        self._recent = 0.0

    def update(self, picture: Picture, time_s: Fraction) -> bool:
        """True if `picture` does not continue what came before; the first picture continues nothing, but is no cut."""
        small = picture.luma(*_SIZE).astype(np.float32)
        if float(small.std()) < _BLANK_STD:
            return False
        current = _normal(cv2.GaussianBlur(small, (0, 0), 1.0))
        reference, self._reference = self._reference, current
        blank_s, self._seen_s = time_s - self._seen_s, time_s
        if reference is None:
            return False
        change = 1.0 - float((reference * current).sum())
        cut = change > _CUT and change > _ABOVE_RECENT * self._recent
        # the cut itself says nothing about how much the new shot moves
        self._recent = 0.0 if cut else _MEMORY * self._recent + (1 - _MEMORY) * change
        return cut or (blank_s > _BLANK_FOR_S and change > _CUT / 2)


def _normal(image: np.ndarray) -> F32:
    centred = image - image.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-3), dtype=np.float32)
