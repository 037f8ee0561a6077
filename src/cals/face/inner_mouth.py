"""A drawn inner mouth, for faces of whom no open mouth is known: teeth that hang from the upper lip, tongue, dark."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import MOUTH_INNER
from cals.types import F32

_TEETH = (0.0, 0.34, 0.6, 0.84, 1.05)
"""Where upper teeth meet, from the middle, in halves of the mouth's width: incisors, canine, premolar."""
_LENGTH = (0.24, 0.22, 0.22, 0.16)
"""How far they show under the lip, in the same measure."""
_TOOTH = np.array([0.80, 0.74, 0.67])
_TONGUE = np.array([0.62, 0.33, 0.32])
_DARK = np.array([0.24, 0.11, 0.10])
"""Colours in the light of a white skin."""
_SOFT = 0.07
"""Width of the edges of teeth and tongue, in halves of the mouth's width."""
WHITE_SKIN = 0.75
"""Brightness of skin in the light that the colours are given for."""


def render_inner_mouth(places: NDArray[Any], landmarks: NDArray[Any], light: float) -> tuple[F32, F32]:
    """Colours [h w 3] in 0..255 of an open mouth, and how much of each pixel it covers [h w].

    `places` [h w 2] are the pixels' places in the pixels of `landmarks` [468 2+]; `light` is the brightness of the
    skin around, 0..1.
    """
    ring = landmarks[list(MOUTH_INNER), :2].astype(np.float64)
    left, right = ring[0], ring[10]
    half = max(float(np.hypot(*(right - left))) / 2, 1e-3)
    along = (right - left) / (2 * half)
    across = np.array([-along[1], along[0]])

    def project(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        away = points - (left + right) / 2
        return away @ along / half, away @ across / half

    x, y = project(places)
    top = np.interp(x, *_rising(*project(ring[:11])))
    bottom = np.interp(x, *_rising(*project(ring[[0, *range(19, 9, -1)]])))
    below, above = y - top, bottom - y
    edge = 1.5 / half  # in the landmarks' pixels
    cover = _step(below, 0, edge) * _step(above, 0, edge) * (np.abs(x) < 1)
    rgb = np.broadcast_to(_DARK, (*x.shape, 3)).copy()
    tongue = _step(0.42 - 0.25 * x**2 - above, 0, 4 * _SOFT) * _step(below, 0.3, 0.25)
    rgb += tongue[..., None] * (0.75 * _TONGUE * (1 - 0.3 * np.abs(x[..., None])) - rgb)
    side = np.abs(x)
    length = np.interp(side, [0, 0.17, 0.47, 0.72, 1.0], [_LENGTH[0], *_LENGTH])
    gap = np.min([np.abs(side - meet) for meet in _TEETH], axis=0)
    length = length - 0.035 * np.exp(-((gap / 0.06) ** 2))  # teeth are rounded where they meet
    tooth = _step(length - below, 0, _SOFT)
    shade = (1 - 0.75 * side**2) * (0.5 + 0.5 * _step(below, 0.0, 0.16)) * (1 - 0.10 * np.exp(-((gap / 0.025) ** 2)))
    rgb += tooth[..., None] * (_TOOTH * shade[..., None] - rgb)
    colours = rgb * (255 * light / WHITE_SKIN)
    return np.clip(colours, 0, 255).astype(np.float32), np.asarray(cover, dtype=np.float32)


def _rising(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    order = np.argsort(x)
    return x[order], y[order]


def _step(value: NDArray[Any], start: float, width: float) -> NDArray[Any]:
    """0 below `start`, 1 from `start + width` on, smooth."""
    t = np.clip((value - start) / width, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
