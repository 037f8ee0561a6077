"""A synthetic face with its 468 mesh points: made of ellipses, moved by an opening and a width of the mouth."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import (
    CHIN,
    LEFT_BROW,
    LEFT_EYE,
    MOUTH_INNER,
    MOUTH_OUTER,
    N_POINTS,
    NOSE_BRIDGE,
    NOSE_TIP,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
)
from cals.types import F32, U8

MIDDLE = np.array([64.0, 62.0])
"""Of the face, in a crop of 128; the eyes lie 40 px apart at y = 34, as the aligner wants them."""
MOUTH = np.array([64.0, 88.0])
CHEEKS = (147, 205, 1, 425, 376)
"""From left to right between mouth and eyes, the middle one under the nose: where masks of the lower face end."""
LIPS = 4.0
"""Thickness of either lip in pixels."""


def points(open_px: float = 0.0, wide_px: float = 0.0) -> F32:
    """Build mesh points [468 3] in crop pixels: lower lip and jaw `open_px` lower, each corner `wide_px` outwards."""
    result = _build_neutral_points().copy()
    x, y = result[:, 0] - MOUTH[0], result[:, 1] - MOUTH[1]
    near = np.exp(-((x / 30) ** 2))
    below = np.zeros(N_POINTS, dtype=bool)
    below[[*_get_lower_lip(MOUTH_INNER), *_get_lower_lip(MOUTH_OUTER)]] = True
    below |= (y > LIPS + 0.5) & ~np.isin(np.arange(N_POINTS), [*MOUTH_INNER, *MOUTH_OUTER])
    arc = np.clip(1 - (x / 19) ** 2, 0, 1) ** 0.5  # of the lips: nothing at their corners
    lips = np.isin(np.arange(N_POINTS), [*MOUTH_INNER, *MOUTH_OUTER])
    result[:, 1] += open_px * below * np.where(lips, arc, near)
    sideways = np.exp(-((y / 12) ** 2)) * np.clip(x / 19, -1, 1) * (y > -14)
    result[:, 0] += wide_px * sideways
    return result.astype(np.float32)


def picture(mesh: F32, seed: int = 0) -> U8:
    """Draw a crop [128 128 3] of a face with these points: soft skin, lips, and teeth if they are open."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(90, 190, (5, 5, 3)).astype(np.uint8)
    crop = np.asarray(cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC))
    _fill_polygon(crop, mesh[list(MOUTH_OUTER), :2], (170, 70, 80))
    inner = mesh[list(MOUTH_INNER), :2].astype(np.float64)
    upper, lower = inner[:11], inner[[0, *range(19, 9, -1)]]
    if (lower - upper).max() > 1:  # a line of teeth between closed lips would be a pixel wide however thin it is
        _fill_polygon(crop, inner, (40, 10, 20))
        _fill_polygon(crop, np.concatenate([upper, (upper + 0.3 * (lower - upper))[::-1]]), (230, 225, 215))
    for eye in (LEFT_EYE, RIGHT_EYE):
        _fill_polygon(crop, mesh[list(eye), :2], (30, 30, 40))
    return crop


def _fill_polygon(crop: U8, outline: NDArray[np.floating], colour: tuple[int, int, int]) -> None:
    cv2.fillPoly(crop, [np.rint((outline - 0.5) * 16).astype(np.int32)], colour, lineType=cv2.LINE_AA, shift=4)


def _get_lower_lip(lips: tuple[int, ...]) -> tuple[int, ...]:
    return lips[11:]


def _build_ellipse(
    count: int, middle: NDArray[np.floating], wide: float, high: float, start: float
) -> NDArray[np.float64]:
    """Build points clockwise in the picture, from the angle `start` on (0 is left, a quarter turn further the top)."""
    angle = start + 2 * np.pi * np.arange(count) / count
    return np.stack([middle[0] - wide * np.cos(angle), middle[1] - high * np.sin(angle)], axis=1)


@lru_cache(maxsize=1)
def _build_neutral_points() -> NDArray[np.float64]:
    flat = np.full((N_POINTS, 2), np.nan)
    flat[list(OVAL)] = _build_ellipse(len(OVAL), MIDDLE, 46, 50, np.pi / 2)
    flat[list(MOUTH_OUTER)] = _build_ellipse(len(MOUTH_OUTER), MOUTH, 22, LIPS, 0)
    flat[list(MOUTH_INNER)] = _build_ellipse(len(MOUTH_INNER), MOUTH, 19, 0.1, 0)
    for side, eye, brow in ((-1, LEFT_EYE, LEFT_BROW), (1, RIGHT_EYE, RIGHT_BROW)):
        flat[list(eye)] = _build_ellipse(len(eye), np.array([64 + 20 * side, 34]), 8, 3, 0)
        flat[list(brow)] = _build_ellipse(len(brow), np.array([64 + 20 * side, 24]), 11, 2, 0)
    flat[list(NOSE_BRIDGE)] = np.stack([np.full(5, 64.0), np.linspace(32, 56, 5)], axis=1)
    flat[NOSE_TIP] = 64, 60
    rng = np.random.default_rng(1)
    for place in np.flatnonzero(np.isnan(flat[:, 0])):
        flat[place] = _sample_free_place(rng, flat)
    flat[list(CHEEKS)] = [(22, 75), (43, 74), (64, 66), (85, 74), (106, 75)]
    away = (flat - MIDDLE) / (52, 60)
    return np.column_stack([flat, -40 * np.sqrt(1 - (away**2).sum(axis=1))])


def _sample_free_place(rng: np.random.Generator, taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample a position within the face, outside the lips, at a distance from the points so far."""
    while True:
        place = MIDDLE + rng.uniform(-1, 1, 2) * (43, 48)
        inside = (((place - MIDDLE) / (43, 48)) ** 2).sum() < 1
        lips = (((place - MOUTH) / (25, LIPS + 3)) ** 2).sum() < 1
        if inside and not lips and np.nanmin(np.hypot(*(taken - place).T)) > 1.5:
            return np.asarray(place)


assert OVAL[18] == CHIN
