"""A synthetic inner mouth, for persons without a frame of an open mouth: upper teeth, tongue and cavity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import MOUTH_INNER
from cals.types import F32

_TOOTH_EDGES = (0.0, 0.34, 0.6, 0.84, 1.05)
"""Edges of the upper teeth, from the middle, in half widths of the mouth: incisors, canine, premolar."""
_TOOTH_LENGTHS = (0.24, 0.22, 0.22, 0.16)
"""Visible length of the teeth below the lip, in half widths of the mouth."""
_TOOTH_RGB = np.array([0.80, 0.74, 0.67])
_TONGUE_RGB = np.array([0.62, 0.33, 0.32])
_CAVITY_RGB = np.array([0.24, 0.11, 0.10])
"""Colours under light in which skin has the brightness `_REFERENCE_SKIN`."""
_EDGE_SOFTNESS = 0.07
"""Width of the soft edges of teeth and tongue, in half widths of the mouth."""
_REFERENCE_SKIN = 0.75
"""Brightness of skin for which the colours are given."""


def render_inner_mouth(places: NDArray[Any], landmarks: NDArray[Any], light: float) -> tuple[F32, F32]:
    """Render the colours [h w 3] in 0..255 of an open mouth and its coverage of each pixel [h w].

    `places` [h w 2] are the positions of the pixels in the coordinates of `landmarks` [468 2+]; `light` is the
    brightness of the skin around, 0..1.
    """
    contour = landmarks[list(MOUTH_INNER), :2].astype(np.float64)
    left, right = contour[0], contour[10]
    half_width = max(float(np.hypot(*(right - left))) / 2, 1e-3)
    along = (right - left) / (2 * half_width)
    across = np.array([-along[1], along[0]])

    def project(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        offsets = points - (left + right) / 2
        return offsets @ along / half_width, offsets @ across / half_width

    x, y = project(places)
    top = np.interp(x, *_sort_by_x(*project(contour[:11])))
    bottom = np.interp(x, *_sort_by_x(*project(contour[[0, *range(19, 9, -1)]])))
    below, above = y - top, bottom - y
    edge = 1.5 / half_width  # in the landmarks' pixels
    cover = _smooth_step(below, 0, edge) * _smooth_step(above, 0, edge) * (np.abs(x) < 1)
    rgb = np.broadcast_to(_CAVITY_RGB, (*x.shape, 3)).copy()
    tongue = _smooth_step(0.42 - 0.25 * x**2 - above, 0, 4 * _EDGE_SOFTNESS) * _smooth_step(below, 0.3, 0.25)
    rgb += tongue[..., None] * (0.75 * _TONGUE_RGB * (1 - 0.3 * np.abs(x[..., None])) - rgb)
    side = np.abs(x)
    length = np.interp(side, [0, 0.17, 0.47, 0.72, 1.0], [_TOOTH_LENGTHS[0], *_TOOTH_LENGTHS])
    gap = np.min([np.abs(side - meet) for meet in _TOOTH_EDGES], axis=0)
    length = length - 0.035 * np.exp(-((gap / 0.06) ** 2))  # teeth are rounded where they meet
    tooth = _smooth_step(length - below, 0, _EDGE_SOFTNESS)
    shade = (
        (1 - 0.75 * side**2) * (0.5 + 0.5 * _smooth_step(below, 0.0, 0.16)) * (1 - 0.10 * np.exp(-((gap / 0.025) ** 2)))
    )
    rgb += tooth[..., None] * (_TOOTH_RGB * shade[..., None] - rgb)
    colours = rgb * (255 * light / _REFERENCE_SKIN)
    return np.clip(colours, 0, 255).astype(np.float32), np.asarray(cover, dtype=np.float32)


def _sort_by_x(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    order = np.argsort(x)
    return x[order], y[order]


def _smooth_step(value: NDArray[Any], start: float, width: float) -> NDArray[Any]:
    """Return 0 below `start`, 1 from `start + width` on, with a smooth step."""
    t = np.clip((value - start) / width, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
