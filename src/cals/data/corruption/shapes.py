"""Painting of simple solids by signed distance to their outlines, so that they are smooth at any size."""

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8

Point = tuple[float, float]
_REACH = 1.25
"""A canvas shows -1.25 to 1.25, y downwards: anything within 1 of the middle may be rotated."""
PAD = 1 / 16
"""Empty margin of a finished picture, as a share of its side: sampling outside must read as clear at any size."""


@dataclass(eq=False)
class Canvas:
    """A square picture with transparency; `angle` rotates all that is drawn on it."""

    px: int
    angle: float = 0.0
    x: F32 = field(init=False, repr=False)
    y: F32 = field(init=False, repr=False)
    rgb: F32 = field(init=False, repr=False)
    """[px px 3] in 0..1, premultiplied."""
    alpha: F32 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        axis = ((np.arange(self.px, dtype=np.float32) + 0.5) * (2 / self.px) - 1) * _REACH
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        self.x = cos * axis[None] + sin * axis[:, None]
        self.y = cos * axis[:, None] - sin * axis[None]
        self.rgb = np.zeros((self.px, self.px, 3), np.float32)
        self.alpha = np.zeros((self.px, self.px), np.float32)

    def paint(self, distance: F32, colour: NDArray[Any] | tuple[float, ...], opacity: float = 1.0) -> None:
        """Paint `colour` ([3] or [px px 3], in 0..1) over all that is inside, where `distance` [px px] is negative."""
        share = np.clip(0.5 - distance * (self.px / (2 * _REACH)), 0, 1) * np.float32(opacity)
        self.rgb += share[..., None] * (np.asarray(colour, dtype=np.float32) - self.rgb)
        self.alpha += share * (1 - self.alpha)

    def shade(self, distance: F32, width: float, depth: float) -> None:
        """Darken what is painted so far near the outline of the next shape, as its shadow."""
        self.rgb *= 1 - depth * np.clip(1 - np.maximum(distance, 0) / width, 0, 1)[..., None]

    def finish(self, px: int) -> U8:
        """Return the picture [px px 4], cropped so that the longer side of what is painted fills all but the margin."""
        rows, columns = np.flatnonzero(self.alpha.max(axis=1) > 0.5), np.flatnonzero(self.alpha.max(axis=0) > 0.5)
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        scale = px * (1 - 2 * PAD) / max(bottom - top, right - left)
        shift = [px / 2 - scale * (left + right) / 2, px / 2 - scale * (top + bottom) / 2]
        matrix = np.array([[scale, 0, shift[0] + scale / 2 - 0.5], [0, scale, shift[1] + scale / 2 - 0.5]])
        # Colour goes on beyond the outline, or what is read between pixels there would be dark.
        spread = cv2.GaussianBlur(np.dstack([self.rgb, self.alpha]), (0, 0), self.px / 32)
        outer = spread[..., :3] / np.maximum(spread[..., 3:], 1e-4)
        inner = self.rgb / np.maximum(self.alpha[..., None], 1e-4)
        rgb = np.where(self.alpha[..., None] > 0.5, inner, outer)
        flat = cv2.warpAffine(np.dstack([rgb, self.alpha]), matrix, (px, px), flags=cv2.INTER_LINEAR)
        return np.asarray(np.rint(np.clip(flat, 0, 1) * 255), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Rod:
    """A rod with round ends from one point to another, as seen on a canvas."""

    distance: F32
    along: F32
    """0 at its start, 1 at its end."""
    across: F32
    """-1 and 1 on its long sides, 0 in the middle."""


def measure_rod(canvas: Canvas, start: Point, end: Point, width: float, end_width: float | None = None) -> Rod:
    """Measure a rod of half-width `width`, which changes linearly to `end_width`."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max(math.hypot(dx, dy), 1e-6)
    x, y = canvas.x - start[0], canvas.y - start[1]
    along = np.clip((x * dx + y * dy) / length**2, 0, 1)
    half = width + ((width if end_width is None else end_width) - width) * along
    side = (x * dy - y * dx) / length
    distance = np.hypot(x - along * dx, y - along * dy) - half
    parts = (distance, along, np.clip(side / half, -1, 1))
    return Rod(*(np.asarray(part, dtype=np.float32) for part in parts))


def measure_box(canvas: Canvas, middle: Point, wide: float, high: float, corner: float) -> F32:
    """Compute the distance to a box of half-sides `wide` and `high` with round corners."""
    x = np.abs(canvas.x - middle[0]) - wide + corner
    y = np.abs(canvas.y - middle[1]) - high + corner
    outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
    return np.asarray(outside + np.minimum(np.maximum(x, y), 0) - corner, dtype=np.float32)


def measure_oval(canvas: Canvas, middle: Point, wide: float, high: float) -> F32:
    """Compute the distance to an ellipse of half-axes `wide` and `high`, exact enough at its outline."""
    radius = np.hypot((canvas.x - middle[0]) / wide, (canvas.y - middle[1]) / high)
    return np.asarray((radius - 1) * min(wide, high), dtype=np.float32)


def light_ball(canvas: Canvas, middle: Point, wide: float, high: float) -> F32:
    """Compute the light [px px] on an oval body lit from the upper left: about 1 there, 0.4 on its far rim."""
    x, y = (canvas.x - middle[0]) / wide, (canvas.y - middle[1]) / high
    depth = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    return np.asarray(0.45 + 0.55 * np.clip(0.75 * depth - 0.45 * x - 0.45 * y, 0, 1), dtype=np.float32)


def light_rod(rod: Rod) -> F32:
    """Compute the light [px px] on a round rod: brightest a little beside its middle, dark on its rims."""
    return np.asarray(1 - 0.5 * np.abs(rod.across - 0.15) ** 2.5, dtype=np.float32)
