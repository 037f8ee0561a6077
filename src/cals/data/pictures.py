"""Appearance augmentation of faces on uint8 images by OpenCV: a fifth of the cost of float tensors."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8

GRAINS, GRAIN_STD = 1 << 20, 32.0
"""Number of precomputed noise values, and their standard deviation on a scale of 255."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AppearanceTransform:
    """Another face and camera for one clip; the same for all its frames but for the noise."""

    map_x: F32 = field(repr=False)
    """[h w] x at which each output pixel reads the source, in pixels with centres at whole numbers, as in cv2."""
    map_y: F32 = field(repr=False)
    """[h w] y, likewise."""
    lookup_table: U8 = field(repr=False)
    """[256 3] lookup table of values, by channel."""
    blur_px: float = 0.0
    """Standard deviation; 0 is sharp."""
    noise: float = 0.0
    """Standard deviation, on a scale of 255."""
    jpeg: int = 100
    """Quality; 100 is no compression at all."""


def apply_appearance(crops: U8, look: AppearanceTransform, rng: np.random.Generator) -> U8:
    """Apply another face and camera to the pictures [t h w 3] of a clip, or to grey ones [t h w]."""
    out = np.empty_like(crops)
    grey = crops.ndim == 3
    light = look.lookup_table[:, 0] if grey else look.lookup_table[None]
    offsets = rng.integers(GRAINS, size=len(crops)) if look.noise else None
    for t, picture in enumerate(crops):
        image: Any = cv2.remap(picture, look.map_x, look.map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        image = cv2.LUT(image, light)
        if look.blur_px:
            image = cv2.GaussianBlur(image, (0, 0), look.blur_px)
        if offsets is not None:
            image = add_grain(image, int(offsets[t]), look.noise)
        if look.jpeg < 100:  # the encoder takes red for blue, which it compresses alike
            _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, look.jpeg])
            image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
        out[t] = image
    return out


def transpose_channels(crops: U8) -> U8:
    """Transpose [t h w 3] to [t 3 h w], in a tenth of the time of a transposed copy."""
    return np.stack([np.stack(cv2.split(picture)) for picture in crops]).astype(np.uint8, copy=False)


def add_grain(image: U8, place: int, strength: float) -> NDArray[Any]:
    """Add noise of deviation `strength` on a scale of 255; it is read from `place` (below `GRAINS`) on."""
    share = strength / GRAIN_STD
    grain = _draw_grain(image.size)[place : place + image.size].reshape(image.shape)
    return np.asarray(cv2.addWeighted(image, 1.0, grain, share, -128 * share))


@lru_cache(maxsize=4)
def _draw_grain(size: int) -> U8:
    """Draw noise of deviation `GRAIN_STD` around 128, once: drawing it anew costs more than all the rest together."""
    values = np.random.default_rng(0).normal(128, GRAIN_STD, GRAINS + size)
    grain: U8 = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return grain


def build_lookup_table(gain: NDArray[Any], gamma: float) -> U8:
    """Build the lookup table [256 3] of gain [3] x value ** gamma, on 0..1."""
    shares = np.linspace(0, 1, 256)[:, None] ** gamma * gain
    table: U8 = np.clip(np.rint(shares * 255), 0, 255).astype(np.uint8)
    return table


def build_remap(height: int, width: int, matrix: NDArray[Any], bumps: NDArray[Any] | None = None) -> tuple[F32, F32]:
    """Build the remap tables [h w], x and y, at which an output pixel reads the source.

    `matrix` [2 3] maps output to source, in pixels from the picture's middle. `bumps` [r c 2] is a coarse displacement
    in pixels; it is upsampled smoothly and added to the output's position first.
    """
    x = np.arange(width, dtype=np.float32)[None] - (width - 1) / 2
    y = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
    if bumps is not None:
        smooth = cv2.resize(bumps.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        x, y = x + smooth[..., 0], y + smooth[..., 1]
    columns = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] + (width - 1) / 2
    rows = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] + (height - 1) / 2
    return columns.astype(np.float32), rows.astype(np.float32)
