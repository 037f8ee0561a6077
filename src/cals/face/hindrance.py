"""What speaks against drawing a mouth although a face is found: its size, the picture's edge, the head's turn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import MOUTH_OUTER, RIGID, inter_ocular_px

TOO_SMALL, TOO_LARGE, AT_EDGE = "too small", "larger than the picture", "cut by the picture's edge"
TURNED_AWAY, COVERED = "turned away", "covered"

MIN_FACE_PX = 24
"""The mesh of a smaller face is guessed more than seen."""
_LIP_MARGIN = 0.1
"""The lips and so much around them have to be in the picture, in inter-ocular distances."""
_AGAIN = 1.1
_STANDS_ON = 5
"""Of the eight points that alignment stands on so many have to be in the picture."""
TURNED_DEG = (28.0, 35.0)
"""Turns of a head, as the mesh has them, from which on a mouth fades and at which it is gone. Heads turned in space
read as 35 at a true 50 degrees and never as more than 44; beyond a true 60 the mesh is off by 0.2 and more of the eyes'
distance."""


def framing_hindrance(landmarks: NDArray[Any], width: int, height: int, *, before: bool = False) -> str | None:
    """`TOO_SMALL`, `TOO_LARGE` or `AT_EDGE` for a mesh [468 2+] in a picture of that size, None where all is well.

    `before`, that something spoke against the frame before, asks for a little more room, so that nothing flickers.
    """
    room = _AGAIN if before else 1.0
    points = landmarks[:, :2].astype(np.float64)
    size = np.ptp(points, axis=0)
    if size.min() < MIN_FACE_PX * room:
        return TOO_SMALL
    if (size * room > (width, height)).any():
        return TOO_LARGE
    margin = room**2 * _LIP_MARGIN * inter_ocular_px(points)
    lips = points[list(MOUTH_OUTER)]
    inside = (lips.min(axis=0) - margin >= 0).all() and (lips.max(axis=0) + margin <= (width, height)).all()
    stands = ((points[list(RIGID)] >= 0) & (points[list(RIGID)] <= (width, height))).all(axis=1).sum() >= _STANDS_ON
    return None if inside and stands else AT_EDGE


def measure_turn_deg(landmarks: NDArray[Any]) -> float:
    """How far a head with this mesh [468 3] is turned to either side, as the mesh has it: 0 from the front."""
    across = (landmarks[263] - landmarks[33]).astype(np.float64)
    return float(np.degrees(np.arctan2(abs(across[2]), np.hypot(across[0], across[1]))))


def turn_share(landmarks: NDArray[Any]) -> float:
    """How strongly a mouth in this mesh [468 3] may be drawn: 1, falling to 0 as the head turns away."""
    start, end = TURNED_DEG
    left = float(np.clip((end - measure_turn_deg(landmarks)) / (end - start), 0, 1))
    return left * left * (3 - 2 * left)
