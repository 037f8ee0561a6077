"""Indices of the points of the 468-point face mesh, and measures of it.

The indices are those of the public face mesh topology (Kartynnik et al., 2019). "left" and "right" are the
picture's, not the person's: `LEFT_EYE` is the eye with the smaller x in an upright picture.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

N_POINTS = 468

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""Outline of the face, closed, clockwise in the picture from the top of the forehead."""

MOUTH_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
"""Outer lip contour, closed, clockwise from the left corner."""
MOUTH_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
"""Inner lip contour, closed, clockwise from the left corner."""

LEFT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
"""Closed, clockwise from the outer corner."""
RIGHT_EYE = (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382)
"""Closed, clockwise from the inner corner."""
LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW = (336, 296, 334, 293, 300, 276, 283, 282, 295, 285)
NOSE_BRIDGE = (168, 6, 197, 195, 5)
"""From between the eyes down to just above the tip of the nose."""
NOSE_TIP = 4
CHIN = 152

RIGID = (33, 133, 362, 263, 168, 6, 197, 195)
"""Eye corners and upper nose bridge: bone under thin skin, hardly moved by speech. Alignment uses these."""

MOUTH_68 = (
    *(61, 40, 37, 0, 267, 270, 291, 321, 405, 17, 181, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
"""Mesh points for points 48..67 of the 68-point scheme: the nearest along the arc of the lip."""


def compute_eye_centres(points: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the left and right eye, each the middle of its two corners, from points [468 2+]."""
    left = (points[33, :2].astype(np.float64) + points[133, :2]) / 2
    right = (points[362, :2].astype(np.float64) + points[263, :2]) / 2
    return left, right


def measure_inter_ocular_px(points: NDArray[Any]) -> float:
    """Measure the distance between the eye centres in the picture plane."""
    left, right = compute_eye_centres(points)
    return float(np.hypot(*(right - left)))


def measure_mouth_opening(points: NDArray[Any]) -> float:
    """Measure the mean gap between the inner lips, in inter-ocular distances; about 0 when closed."""
    upper, lower = points[[81, 13, 311], :2], points[[178, 14, 402], :2]
    return float(np.hypot(*(lower - upper).T).mean() / measure_inter_ocular_px(points))


def measure_mouth_width(points: NDArray[Any]) -> float:
    """Measure the distance between the outer mouth corners, in inter-ocular distances."""
    return float(np.hypot(*(points[291, :2] - points[61, :2])) / measure_inter_ocular_px(points))
