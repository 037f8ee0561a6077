"""Anti-aliased similarity warps. All coordinates have pixel centres at .5: pixel i covers i <= x < i + 1."""

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8, Box, Picture, apply_affine, compute_scale, invert_affine

T = TypeVar("T", np.float32, np.float64)
_MARGIN_PX = 3
"""Source pixels fetched around the sampled area, so that the filters see real pixels, not replicated ones."""
_MIN_CUBIC_SCALE = 0.8
"""From this scale on, images are enlarged bicubically before the bilinear warp, to keep them sharp."""
_CUBIC_FACTORS = (3, 4)
"""Least and largest factor of that enlargement. Measured by crop and paste of a face: 3 is as good as cv2's bicubic
warp, 2 adds a tenth to the error, 4 gains nothing."""
SUBPIXEL_BITS = 4
"""cv2 is asked to draw at sixteenths of a pixel."""
_MAX_PIXELS_PER_PLACE = 6
"""Enlarging takes longer than cv2's filter where an image has more pixels; a face has 2 to 3 in a frame of its size."""


def build_similarity(
    scale: float, angle_rad: float, centre: tuple[float, float], to: tuple[float, float]
) -> NDArray[Any]:
    """Build a matrix [2 3] that rotates clockwise (y down) by `angle_rad`, scales, and maps `centre` to `to`."""
    c, s = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    linear = np.array([[c, -s], [s, c]])
    shift = np.asarray(to, dtype=np.float64) - linear @ np.asarray(centre, dtype=np.float64)
    return np.concatenate([linear, shift[:, None]], axis=1)


def warp(
    image: NDArray[Any],
    matrix: NDArray[Any],
    width: int,
    height: int,
    *,
    border: int = cv2.BORDER_REPLICATE,
    sharp: bool = True,
) -> NDArray[Any]:
    """Resample `image` [h w ...] by `matrix` (image -> output) into [height width ...].

    Minifying is anti-aliased by averaging whole blocks first, magnifying is bicubic (the overshoot of float images
    is left to the caller to clip). A resize by an integer and a bilinear warp cost a third of cv2's bicubic or area
    resampling by any factor and look the same. Without `sharp` it is bilinear, for network inputs.
    """
    blocks = _count_blocks(matrix)
    if blocks > 1:
        image = average_blocks(image, blocks)
        matrix = matrix @ np.diag([blocks, blocks, 1.0])
    scale = compute_scale(matrix)
    if sharp and scale >= _MIN_CUBIC_SCALE:
        factor = min(max(_CUBIC_FACTORS[0], round(scale)), _CUBIC_FACTORS[1])
        image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC))
        matrix = matrix @ np.diag([1 / factor, 1 / factor, 1.0])
    centred = np.array(matrix, dtype=np.float64)
    centred[:, 2] += centred[:, :2] @ (0.5, 0.5) - 0.5  # cv2 puts pixel centres at whole numbers
    return np.asarray(cv2.warpAffine(image, centred, (width, height), flags=cv2.INTER_LINEAR, borderMode=border))


def _count_blocks(matrix: NDArray[Any]) -> int:
    """Return the side of the blocks that are averaged before `matrix` (source -> output) minifies the rest."""
    return max(1, round(1 / max(compute_scale(matrix), 1e-6)))


def round_to_subpixels(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Round points [n 2] to what cv2 draws with `shift=SUBPIXEL_BITS`, which has pixel centres at whole numbers."""
    return np.rint((points - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def map_pixel_centres(matrix: NDArray[np.float64], width: int, height: int, dtype: type[T]) -> NDArray[T]:
    """Map the pixel centres of an image by an affine matrix, [height width 2]."""
    by_column = matrix[:, 0] * (np.arange(width)[:, None] + 0.5)
    by_row = matrix[:, 1] * (np.arange(height)[:, None] + 0.5) + matrix[:, 2]
    grid = np.empty((height, width, 2), dtype)
    for axis in (0, 1):
        np.add(by_column[None, :, axis], by_row[:, None, axis], out=grid[..., axis], casting="same_kind")
    return grid


def sample_smooth(image: U8, places: NDArray[Any]) -> U8:
    """Sample `image` at places [h w 2], bilinear; the edge is repeated outside."""
    return _sample(image, places, cv2.INTER_LINEAR)


def sample_sharp(image: U8, places: NDArray[Any]) -> U8:
    """Sample `image` at places [h w 2], as sharp as a bicubic filter; the edge is repeated outside.

    Enlarging the image takes half the time of cv2's filter, unless there are much fewer places than pixels; see `warp`.
    """
    if image[..., 0].size > _MAX_PIXELS_PER_PLACE * places[..., 0].size:
        return _sample(image, places, cv2.INTER_CUBIC)
    factor = _CUBIC_FACTORS[0]
    enlarged = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)
    return sample_smooth(enlarged, places * np.float32(factor))


def _sample(image: U8, places: NDArray[Any], filter_code: int) -> U8:
    indices = np.asarray(places - np.float32(0.5), dtype=np.float32)  # cv2 puts pixel centres at whole numbers
    sampled = cv2.remap(image, indices, np.empty(0), filter_code, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, dtype=np.uint8)


def average_blocks(image: NDArray[Any], blocks: int) -> NDArray[Any]:
    """Average `blocks` x `blocks` pixels; the last blocks are padded with the edge."""
    height, width = image.shape[:2]
    below, right = -height % blocks, -width % blocks
    if below or right:
        image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE))
    size = (image.shape[1] // blocks, image.shape[0] // blocks)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def average_colours(picture: F32) -> F32:
    """Average the three colours of `picture` [h w 3], into [h w]; numpy's mean over so short an axis is slow."""
    return np.asarray(cv2.transform(picture, np.full((1, 3), 1 / 3, np.float32)), dtype=np.float32)


def compute_source_box(matrix: NDArray[Any], width: int, height: int, margin_px: int) -> Box:
    """Compute the source box that `matrix` (source -> output) maps onto a `width` x `height` output, plus a margin."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    source = apply_affine(invert_affine(matrix), corners)
    low, high = np.floor(source.min(axis=0)), np.ceil(source.max(axis=0))
    return Box(*(int(v) - margin_px for v in low), *(int(v) + margin_px for v in high))


def sample(
    picture: Picture,
    matrix: NDArray[Any],
    width: int,
    height: int,
    *,
    border: int = cv2.BORDER_REPLICATE,
    sharp: bool = True,
) -> U8:
    """Resample the part of `picture` that `matrix` (frame -> output) maps into a [height width 3] output.

    Only that part is converted to RGB, and where it is minified only its averages. The border mode applies where the
    output reaches outside the frame.
    """
    # whole blocks of the source are averaged when it is minified, so its margin grows with them
    margin_px = _MARGIN_PX + 2 * round(np.hypot(*invert_affine(matrix)[:, 0]))
    box = compute_source_box(matrix, width, height, margin_px).clip(picture.width, picture.height)
    if box.width == 0 or box.height == 0:
        # outside the frame: only the nearest edge pixel can be replicated
        x0, y0 = min(box.x0, picture.width - 1), min(box.y0, picture.height - 1)
        box = Box(x0, y0, x0 + max(1, box.width), y0 + max(1, box.height))
    blocks = _count_blocks(matrix)
    if blocks > 1:
        box = Box(box.x0 - box.x0 % 2, box.y0 - box.y0 % 2, box.x1, box.y1)
    local = np.array(matrix, dtype=np.float64)
    local[:, 2] += local[:, :2] @ (float(box.x0), float(box.y0))
    local = local @ np.diag([blocks, blocks, 1.0])
    return np.asarray(warp(picture.rgb(box, blocks), local, width, height, border=border, sharp=sharp), dtype=np.uint8)
