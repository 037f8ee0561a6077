"""What a face and its camera do to pictures, on uint8 by OpenCV: a fifth of the cost of float tensors."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8

GRAINS, GRAIN_STD = 1 << 20, 32.0
"""Values of noise kept, and their deviation in steps of 255."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Repaint:
    """One clip's other face and camera; the same for all its frames but for the noise."""

    columns: F32 = field(repr=False)
    """[h w] where each pixel is read, in pixels with centres at whole numbers, as cv2 counts."""
    rows: F32 = field(repr=False)
    light: U8 = field(repr=False)
    """[256 3] new value of each value."""
    blur_px: float = 0.0
    """Standard deviation; 0 is sharp."""
    noise: float = 0.0
    """Standard deviation, in steps of 255."""
    jpeg: int = 100
    """Quality; 100 is no compression at all."""


def repainted(crops: U8, look: Repaint, rng: np.random.Generator) -> U8:
    """Pictures [t h w 3] of a clip, or grey ones [t h w], as another face before another camera."""
    found = np.empty_like(crops)
    grey = crops.ndim == 3
    light = look.light[:, 0] if grey else look.light[None]
    places = rng.integers(GRAINS, size=len(crops)) if look.noise else None
    for t, picture in enumerate(crops):
        image: Any = cv2.remap(picture, look.columns, look.rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        image = cv2.LUT(image, light)
        if look.blur_px:
            image = cv2.GaussianBlur(image, (0, 0), look.blur_px)
        if places is not None:
            image = add_grain(image, int(places[t]), look.noise)
        if look.jpeg < 100:  # the encoder takes red for blue, which it compresses alike
            _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, look.jpeg])
            image = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
        found[t] = image
    return found


def planes(crops: U8) -> U8:
    """[t h w 3] as [t 3 h w]; a tenth of the time of a transposed copy."""
    return np.stack([np.stack(cv2.split(picture)) for picture in crops]).astype(np.uint8, copy=False)


def add_grain(image: U8, place: int, strength: float) -> NDArray[Any]:
    """`image` with noise of that deviation, in steps of 255, read from `place` (below `GRAINS`) on."""
    share = strength / GRAIN_STD
    grain = _grain(image.size)[place : place + image.size].reshape(image.shape)
    return np.asarray(cv2.addWeighted(image, 1.0, grain, share, -128 * share))


@lru_cache(maxsize=4)
def _grain(size: int) -> U8:
    """Noise of deviation `GRAIN_STD` around 128, drawn once: drawing it anew costs more than all the rest together."""
    values = np.random.default_rng(0).normal(128, GRAIN_STD, GRAINS + size)
    grain: U8 = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return grain


def light_table(gain: NDArray[Any], gamma: float) -> U8:
    """[256 3] value -> gain [3] x value ** gamma, on 0..1."""
    shares = np.linspace(0, 1, 256)[:, None] ** gamma * gain
    table: U8 = np.clip(np.rint(shares * 255), 0, 255).astype(np.uint8)
    return table


def reading_map(height: int, width: int, matrix: NDArray[Any], bumps: NDArray[Any] | None = None) -> tuple[F32, F32]:
    """Columns and rows [h w] at which an output pixel reads the source.

    `matrix` [2 3] takes output to source, in pixels from the picture's middle. `bumps` [r c 2], coarse and enlarged
    smoothly, is added to the output's place first, in pixels.
    """
    x = np.arange(width, dtype=np.float32)[None] - (width - 1) / 2
    y = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
    if bumps is not None:
        smooth = cv2.resize(bumps.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        x, y = x + smooth[..., 0], y + smooth[..., 1]
    columns = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] + (width - 1) / 2
    rows = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] + (height - 1) / 2
    return columns.astype(np.float32), rows.astype(np.float32)
