"""Reasons not to render a mouth into a detected face: its size, the edge of the picture, the yaw of the head."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import MOUTH_OUTER, RIGID, measure_inter_ocular_px

TOO_SMALL, TOO_LARGE, AT_EDGE = "too small", "larger than the picture", "cut by the picture's edge"
TURNED_AWAY, OCCLUDED = "turned away", "covered"

MIN_FACE_PX = 24
"""Least size of a face whose mesh is reliable."""
_LIP_MARGIN = 0.1
"""Margin around the lips that must be inside the picture, in inter-ocular distances."""
_HYSTERESIS = 1.1
_MIN_RIGID_INSIDE = 5
"""How many of the eight points used for alignment must be inside the picture."""
YAW_FADE_DEG = (28.0, 35.0)
"""Yaw of the mesh at which a mouth starts to fade and at which it is gone. A true yaw of 50 degrees is measured as 35,
and none as more than 44. Beyond a true 60 degrees the mesh errs by 0.2 inter-ocular distances and more."""


def check_framing(landmarks: NDArray[Any], width: int, height: int, *, was_skipped: bool = False) -> str | None:
    """Return `TOO_SMALL`, `TOO_LARGE` or `AT_EDGE` for a mesh [468 2+] in a picture of that size, None if it fits.

    `was_skipped` means that the previous frame had a reason; the limits are then a little stricter, against flicker.
    """
    factor = _HYSTERESIS if was_skipped else 1.0
    points = landmarks[:, :2].astype(np.float64)
    size = np.ptp(points, axis=0)
    if size.min() < MIN_FACE_PX * factor:
        return TOO_SMALL
    if (size * factor > (width, height)).any():
        return TOO_LARGE
    margin = factor**2 * _LIP_MARGIN * measure_inter_ocular_px(points)
    lips = points[list(MOUTH_OUTER)]
    lips_inside = (lips.min(axis=0) - margin >= 0).all() and (lips.max(axis=0) + margin <= (width, height)).all()
    rigid_inside = ((points[list(RIGID)] >= 0) & (points[list(RIGID)] <= (width, height))).all(
        axis=1
    ).sum() >= _MIN_RIGID_INSIDE
    return None if lips_inside and rigid_inside else AT_EDGE


def measure_yaw_deg(landmarks: NDArray[Any]) -> float:
    """Measure the yaw of a mesh [468 3] in degrees, 0 from the front, above 0 with the picture's right eye further."""
    eye_axis = (landmarks[263] - landmarks[33]).astype(np.float64)
    return float(np.degrees(np.arctan2(eye_axis[2], np.hypot(eye_axis[0], eye_axis[1]))))


def compute_yaw_opacity(landmarks: NDArray[Any]) -> float:
    """Compute the opacity 0..1 of a mouth in this mesh [468 3]: 1, falling to 0 as the head turns away."""
    start, end = YAW_FADE_DEG
    remaining = float(np.clip((end - abs(measure_yaw_deg(landmarks))) / (end - start), 0, 1))
    return remaining * remaining * (3 - 2 * remaining)
