"""What a face and its camera do to pictures, on uint8 by OpenCV: a fifth of the cost of float tensors."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8

_SPLAT_PX = 4
"""Cell of the grid on which a morph is known: finer than landmarks lie apart, coarse enough to be cheap."""
_SPLAT_ROUNDS = 4
_NOISE, _GRAIN = 1 << 20, 32.0
"""Values of noise kept, and their deviation in steps of 255."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Look:
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


def repainted(crops: U8, look: Look, rng: np.random.Generator) -> U8:
    """Pictures [t h w 3] of a clip as another face before another camera."""
    found = np.empty_like(crops)
    places = rng.integers(_NOISE, size=len(crops)) if look.noise else None
    for t, picture in enumerate(crops):
        image: Any = cv2.remap(picture, look.columns, look.rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        image = cv2.LUT(image, look.light[None])
        if look.blur_px:
            image = cv2.GaussianBlur(image, (0, 0), look.blur_px)
        if places is not None:
            image = _noisy(image, int(places[t]), look.noise)
        if look.jpeg < 100:  # the encoder takes red for blue, which it compresses alike
            _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, look.jpeg])
            image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        found[t] = image
    return found


def planes(crops: U8) -> U8:
    """[t h w 3] as [t 3 h w]; a tenth of the time of a transposed copy."""
    return np.stack([np.stack(cv2.split(picture)) for picture in crops]).astype(np.uint8, copy=False)


def _noisy(image: U8, place: int, strength: float) -> NDArray[Any]:
    share = strength / _GRAIN
    grain = _grain(image.size)[place : place + image.size].reshape(image.shape)
    return np.asarray(cv2.addWeighted(image, 1.0, grain, share, -128 * share))


@lru_cache(maxsize=4)
def _grain(size: int) -> U8:
    """Noise of deviation `_GRAIN` around 128, drawn once: drawing it anew costs more than all the rest together."""
    values = np.random.default_rng(0).normal(128, _GRAIN, _NOISE + size)
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


def resting(landmarks: F32) -> F32:
    """A clip's face at rest, [468 2] from landmarks [t 468 2+]: every point's median."""
    shape: F32 = np.median(landmarks[..., :2], axis=0).astype(np.float32)
    return shape


def shape_offset(own: F32, other: F32, share: float = 1.0) -> F32:
    """What takes the face `own` [468 2] to the proportions of `other`: size, turn and place stay its own."""
    a, b = own - own.mean(axis=0), other - other.mean(axis=0)
    u, s, vt = np.linalg.svd(b.T @ a)
    turn = u @ np.diag([1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    fitted = b @ turn * (s.sum() / np.square(b).sum())
    offset: F32 = (share * (fitted - a)).astype(np.float32)
    return offset


def morphed(crops: U8, landmarks: F32, offset: F32) -> U8:
    """Pictures [t h w 3] of a face with other proportions and the same motion.

    Landmarks [t 468 2+] (pixel centres at .5) come to lie at landmarks + `offset` [468 2] in every frame; around the
    face the picture goes over into what it was.
    """
    height, width = crops.shape[1:3]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    found = np.empty_like(crops)
    for t, picture in enumerate(crops):
        field_px = _spread(landmarks[t, :, :2] + offset, offset, height, width)
        found[t] = cv2.remap(
            picture, x - field_px[..., 0], y - field_px[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return found


def _spread(points: F32, offset: F32, height: int, width: int) -> F32:
    """A smooth field [h w 2] that is `offset` [n 2] at `points` [n 2] and dies away from them.

    Offsets are averaged over a coarse grid's cells and smoothed; what is then missing at the points is put on top, a
    few times over.
    """
    rows, columns = -(-height // _SPLAT_PX), -(-width // _SPLAT_PX)
    at = (points / _SPLAT_PX - 0.5).astype(np.float32)
    cell = np.rint(at).astype(int)
    inside = ((cell >= 0) & (cell < (columns, rows))).all(axis=1)
    index = cell[inside, 1] * columns + cell[inside, 0]
    count = np.bincount(index, minlength=rows * columns).reshape(rows, columns).astype(np.float32)
    weight = cv2.GaussianBlur(count, (0, 0), 1.2, borderType=cv2.BORDER_CONSTANT) + 0.02
    coarse = np.zeros((rows, columns, 2), np.float32)
    missing = offset
    for _ in range(_SPLAT_ROUNDS):
        for axis in range(2):
            sums = np.bincount(index, missing[inside, axis], rows * columns).reshape(rows, columns).astype(np.float32)
            coarse[..., axis] += cv2.GaussianBlur(sums, (0, 0), 1.2, borderType=cv2.BORDER_CONSTANT) / weight
        reached = cv2.remap(coarse, at[:, None, 0], at[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        missing = offset - reached[:, 0]
    size = (columns * _SPLAT_PX, rows * _SPLAT_PX)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)[:height, :width], dtype=np.float32)
