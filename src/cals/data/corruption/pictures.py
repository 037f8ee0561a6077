"""Corrupted pictures: mouth crops, or the mouth's place in a whole frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.data.corruption.bursts import Burst
from cals.data.corruption.config import REFERENCE_PX
from cals.data.corruption.occluders import COUNT, load_occluder
from cals.data.pictures import GRAIN_STD, GRAINS, add_grain
from cals.errors import ConfigError
from cals.face.picture import ArrayPicture
from cals.types import F32, U8, Box, Patch, Picture, apply_affine

_MAX_SHIFT = 0.1
"""Largest shift of an occluder from the mouth's middle, each way, as a share of the crop's side."""
_DRIFT, _SWAY = 0.04, math.radians(5)
"""Amplitude of its drift, as a share of the crop's side, and of its rotation."""
_FPS, _DRIFT_HZ = 25, (0.2, 0.8)
"""Rate of training, and range of the drift's frequencies."""
_FEATHER = 0.08
"""Width of the soft rim around a square of noise or blur in a frame, as a share of its side."""
_MASK_PX = 96
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class MouthPlace:
    """The square around a mouth in a picture, which a mouth crop of any size shows. Pixel centres are at .5."""

    x: float
    """Centre of the square."""
    y: float
    side: float
    """In pixels."""
    angle: float = 0.0
    """Clockwise rotation as seen, in radians."""


@dataclass(frozen=True)
class _Drift:
    """Motion of an occluder over a mouth."""

    number: int
    mirror: float
    x: float
    y: float
    hz: tuple[float, float, float]
    phase: tuple[float, float, float]

    def at(self, frame: int, place: MouthPlace) -> tuple[float, float, float]:
        """Compute its middle in the picture and its angle in a frame of the burst."""
        swing = [
            math.sin(2 * math.pi * (hz * frame / _FPS + phase)) for hz, phase in zip(self.hz, self.phase, strict=True)
        ]
        x, y = (self.x + _DRIFT * swing[0]) * place.side, (self.y + _DRIFT * swing[1]) * place.side
        cos, sin = math.cos(place.angle), math.sin(place.angle)
        return place.x + cos * x - sin * y, place.y + sin * x + cos * y, place.angle + _SWAY * swing[2]


@lru_cache(maxsize=256)
def _draw_drift(seed: int) -> _Drift:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-_MAX_SHIFT, _MAX_SHIFT, 2).tolist()
    hz, phase = rng.uniform(*_DRIFT_HZ, size=3).tolist(), rng.random(3).tolist()
    return _Drift(int(rng.integers(COUNT)), float(rng.choice([-1.0, 1.0])), x, y, tuple(hz), tuple(phase))


@lru_cache(maxsize=256)
def _draw_grain(seed: int, frames: int) -> list[int]:
    """Draw the offset at which each frame's grain is read."""
    return np.random.default_rng(seed).integers(GRAINS, size=frames).tolist()  # type: ignore[no-any-return]


def corrupt_pictures(crops: U8, bursts: Sequence[Burst], mouth: MouthPlace | None = None) -> U8:
    """Corrupt a clip's pictures [t h w] or [t h w 3]; frames outside the bursts stay as they are, in a new array.

    Without `mouth` the pictures are mouth crops: the largest square in their middle is the mouth's, and noise and blur
    cover the whole picture. With it they are larger ones (RGB) with a mouth there, see `corrupt_frame`. The same burst
    gives the same occluder at any size. Raises ConfigError for bursts that go beyond the clip.
    """
    height, width = crops.shape[1:3]
    place = mouth or MouthPlace(width / 2, height / 2, min(height, width))
    out = crops.copy()
    for burst in bursts:
        if burst.end > len(crops):
            raise ConfigError(f"bursts: expected them within {len(crops)} frames, found one up to {burst.end}")
        for t in range(burst.start, burst.end):
            if mouth is not None:
                patch = corrupt_frame(ArrayPicture(crops[t]), t, burst, mouth)
                out[t] = ArrayPicture(crops[t]).apply_patch(patch)
            elif burst.kind == "patch":
                _cover(out[t], _occlude(burst, t - burst.start, place, width, height))
            elif burst.kind == "noise":
                grain = _draw_grain(burst.seed, burst.end - burst.start)[t - burst.start]
                out[t] = add_grain(crops[t], grain, 255 * burst.strength)
            else:
                out[t] = _blur(crops[t], burst.strength * place.side)
    return out


def corrupt_frame(picture: Picture, index: int, burst: Burst, place: MouthPlace) -> Patch:
    """Compute the change by a burst of frame `index` of a video with its mouth at `place`; empty where it is outside.

    Noise has the grain of a crop of 96 px, whatever the size of the mouth, so that a crop of the result is as noisy.
    """
    frame = index - burst.start
    if burst.kind == "patch":
        return _occlude(burst, frame, place, picture.width, picture.height)
    box = _bound_square(place, 1 + 2 * _FEATHER).clip(picture.width, picture.height)
    if not box.width or not box.height:
        return _build_empty_patch(box)
    alpha = _warp(_draw_square(), place, 1 + 2 * _FEATHER, box)
    if burst.kind == "blur":
        sigma = burst.strength * place.side
        reach = math.ceil(3 * sigma)
        wide = Box(box.x0 - reach, box.y0 - reach, box.x1 + reach, box.y1 + reach)
        wide = wide.clip(picture.width, picture.height)
        blurred = _blur(picture.rgb(wide), sigma)
        rgb = np.asarray(blurred[box.y0 - wide.y0 :, box.x0 - wide.x0 :][: box.height, : box.width], np.uint8)
        return Patch(box, rgb, alpha)
    cells = max(2, min(REFERENCE_PX, round(place.side)))
    flat = np.full((REFERENCE_PX, REFERENCE_PX, 3), 128, np.uint8)
    grain = add_grain(flat, _draw_grain(burst.seed, burst.end - burst.start)[frame], GRAIN_STD)[:cells, :cells]
    noise = _warp(grain.astype(np.float32) - 128, place, 1, box, in_cells=True)
    noise *= 255 * burst.strength / GRAIN_STD
    return Patch(box, np.rint(np.clip(picture.rgb(box) + noise, 0, 255)).astype(np.uint8), alpha)


def _occlude(burst: Burst, frame: int, place: MouthPlace, width: int, height: int) -> Patch:
    """Render the occluder of a burst in its frame number `frame`, clipped to a picture of that size."""
    drift = _draw_drift(burst.seed)
    x, y, angle = drift.at(frame, place)
    size = burst.strength * place.side
    occluder = load_occluder(drift.number, size)
    px = occluder.picture.shape[0]
    scale = size / (px * occluder.side)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    # from the occluder's pixels, its middle at (x, y), to the frame's; centres at whole numbers
    a, c = cos * drift.mirror, sin * drift.mirror
    middle_x, middle_y = occluder.middle
    shift = (x - 0.5 - a * middle_x + sin * middle_y, y - 0.5 - c * middle_x - cos * middle_y)
    middle = (px - 1) / 2
    mid_x, mid_y = a * middle - sin * middle + shift[0], c * middle + cos * middle + shift[1]
    reach = 0.5 * px * (abs(cos) + abs(sin)) + 1
    box = Box(math.floor(mid_x - reach), math.floor(mid_y - reach), math.ceil(mid_x + reach), math.ceil(mid_y + reach))
    box = box.clip(width, height)
    if not box.width or not box.height:
        return _build_empty_patch(box)
    matrix = np.array([[a, -sin, shift[0] - box.x0], [c, cos, shift[1] - box.y0]])
    size_px = (box.width, box.height)
    warped = cv2.warpAffine(occluder.picture, matrix, size_px, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Patch(box, np.asarray(warped[..., :3], np.uint8), warped[..., 3] * np.float32(1 / 255))


def _cover(picture: U8, patch: Patch) -> None:
    """Blend a patch into a picture [h w] or [h w 3] in place."""
    box = patch.box
    part = picture[box.y0 : box.y1, box.x0 : box.x1]
    colour: Any = patch.rgb
    alpha = patch.alpha
    if picture.ndim == 2:
        colour = colour @ _LUMA
    else:
        alpha = alpha[..., None]
    part[...] = part + alpha * (colour - part.astype(np.float32)) + np.float32(0.5)


def _blur(image: U8, sigma: float) -> NDArray[Any]:
    """Blur by a stack, which for any deviation takes the time of a small one: a Gaussian takes 20 times as long."""
    radius = max(1, round(math.sqrt(6 * sigma**2 + 1) - 1))  # a triangle of that deviation each way
    return np.asarray(cv2.stackBlur(np.ascontiguousarray(image), (2 * radius + 1, 2 * radius + 1)))


def _build_empty_patch(box: Box) -> Patch:
    return Patch(box, np.zeros((box.height, box.width, 3), np.uint8), np.zeros((box.height, box.width), np.float32))


def _map_square(place: MouthPlace, reach: float, px: int) -> NDArray[np.float64]:
    """Compute the map from a square picture of `px` to the frame; pixel centres are at .5.

    The picture shows `reach` times the mouth's square.
    """
    scale = reach * place.side / px
    cos, sin = scale * math.cos(place.angle), scale * math.sin(place.angle)
    half = px / 2
    return np.array([[cos, -sin, place.x - cos * half + sin * half], [sin, cos, place.y - sin * half - cos * half]])


def _bound_square(place: MouthPlace, reach: float) -> Box:
    corners = apply_affine(_map_square(place, reach, 1), np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64))
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def _warp(image: F32, place: MouthPlace, reach: float, box: Box, *, in_cells: bool = False) -> F32:
    """Warp a square picture, `reach` times the mouth's square, into `box` of the frame.

    With `in_cells` its pixels keep their contrast, and it continues beyond its edges, mirrored.
    """
    matrix = _map_square(place, reach, image.shape[0])
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5 - np.array([box.x0, box.y0])
    modes = (cv2.INTER_NEAREST, cv2.BORDER_REFLECT_101) if in_cells else (cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    warped = cv2.warpAffine(image, matrix, (box.width, box.height), flags=modes[0], borderMode=modes[1])
    return np.asarray(warped, dtype=np.float32)


@lru_cache(maxsize=1)
def _draw_square() -> F32:
    """Draw a mask: 1 in the mouth's square, falling to 0 within `_FEATHER` of its side around it."""
    distance = np.abs((np.arange(_MASK_PX, dtype=np.float32) + 0.5) / _MASK_PX - 0.5) * (1 + 2 * _FEATHER)
    edge = np.clip((0.5 + _FEATHER - distance) / _FEATHER, 0, 1)
    soft = edge * edge * (3 - 2 * edge)
    return np.asarray(soft[:, None] * soft[None], dtype=np.float32)
