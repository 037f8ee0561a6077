"""Patterns of our own for occluders: stripes, checks, dots, weave, marble, wood."""

import math

import cv2
import numpy as np

from cals.data.corruption.shapes import Canvas
from cals.types import F32


def draw_pattern(rng: np.random.Generator, canvas: Canvas) -> F32:
    """Draw one of the patterns [px px 3] in 0..1, in two distinct colours."""
    first, second = draw_colour(rng), draw_colour(rng)
    if np.abs(first - second).max() < 0.25:
        second = np.clip(first + np.where(first > 0.5, -0.4, 0.4), 0, 1).astype(np.float32)
    patterns = (_draw_stripes, _draw_checks, _draw_dots, _weave, _draw_marble, _draw_wood)
    share = patterns[int(rng.integers(len(patterns)))](rng, canvas)
    return np.asarray(first + np.clip(share, 0, 1)[..., None] * (second - first), dtype=np.float32)


def draw_colour(rng: np.random.Generator) -> F32:
    """Draw a colour [3] in 0..1 of any hue, from grey to fairly saturated."""
    grey, tint = rng.uniform(0.1, 0.95), rng.uniform(-0.35, 0.35, 3)
    return np.clip(grey + tint, 0.03, 0.97).astype(np.float32)


def draw_clouds(rng: np.random.Generator, canvas: Canvas, cells: int) -> F32:
    """Draw smooth noise [px px] in about -1..1, of so many cells a side at any size."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (canvas.px, canvas.px), interpolation=cv2.INTER_CUBIC))


def _rotate(rng: np.random.Generator, canvas: Canvas) -> tuple[F32, F32]:
    angle = rng.uniform(0, math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * canvas.x + sin * canvas.y, cos * canvas.y - sin * canvas.x


def _sharpen(wave: F32) -> F32:
    return 0.5 + 4 * wave


def _draw_stripes(rng: np.random.Generator, canvas: Canvas) -> F32:
    x, _ = _rotate(rng, canvas)
    return _sharpen(np.sin(x * rng.uniform(8, 18)) + np.float32(rng.uniform(-0.5, 0.5)))


def _draw_checks(rng: np.random.Generator, canvas: Canvas) -> F32:
    x, y = _rotate(rng, canvas)
    rate = rng.uniform(6, 14)
    return _sharpen(np.sin(x * rate) * np.sin(y * rate))


def _draw_dots(rng: np.random.Generator, canvas: Canvas) -> F32:
    x, y = _rotate(rng, canvas)
    rate = rng.uniform(8, 15)
    return _sharpen(np.cos(x * rate) + np.cos(y * rate) - np.float32(rng.uniform(0.3, 1.2)))


def _weave(rng: np.random.Generator, canvas: Canvas) -> F32:
    x, y = _rotate(rng, canvas)
    rate = rng.uniform(25, 45)
    return np.asarray(0.5 + 0.25 * (np.sin(x * rate) + np.sin(y * rate)), dtype=np.float32)


def _draw_marble(rng: np.random.Generator, canvas: Canvas) -> F32:
    x, _ = _rotate(rng, canvas)
    bent = x * rng.uniform(3, 6) + 2.5 * draw_clouds(rng, canvas, 5) + draw_clouds(rng, canvas, 12)
    return np.asarray(np.abs(np.sin(bent)) ** 0.6, dtype=np.float32)


def _draw_wood(rng: np.random.Generator, canvas: Canvas) -> F32:
    x, y = _rotate(rng, canvas)
    rings = np.hypot(x + rng.uniform(1, 2), 0.2 * y) * rng.uniform(18, 35) + 1.5 * draw_clouds(rng, canvas, 4)
    return np.asarray(0.5 + 0.5 * np.sin(rings), dtype=np.float32)
