"""Regions of planar YUV pictures to 8-bit RGB and back, touching nothing outside the region."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8, Box, Patch

Plane = NDArray[np.uint8] | NDArray[np.uint16]

# Luma weights (Kr, Kb) by ITU-T H.273 matrix_coefficients; every other code is treated as unspecified.
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_FULL_RANGE = 2


@dataclass(frozen=True)
class Layout:
    """How a planar pixel format stores its samples."""

    bits: int
    shift_x: int
    """log2 of luma columns per chroma sample."""
    shift_y: int
    """log2 of luma rows per chroma sample."""


LAYOUTS = {
    f"{prefix}{name}p{suffix}": Layout(10 if suffix else 8, shift_x, shift_y)
    for name, shift_x, shift_y in (("420", 1, 1), ("422", 1, 0), ("444", 0, 0))
    for prefix, suffix in (("yuv", ""), ("yuvj", ""), ("yuv", "10le"))
}
"""The pixel formats that are patched in place; every other one is converted to one of them first."""


@dataclass(frozen=True)
class ColorSpace:
    """The linear maps between the stored samples of a picture and RGB in 0..255."""

    layout: Layout
    to_rgb: NDArray[np.float32]
    """[3 4] from stored Y, Cb, Cr to R, G, B."""
    from_rgb: NDArray[np.float32]
    """[3 4] from R, G, B to stored Y, Cb, Cr."""


@lru_cache(maxsize=64)
def color_space(pix_fmt: str, matrix: int, color_range: int, height: int) -> ColorSpace:
    """The colour space of a picture from its tags; an unknown `matrix` means 709 from 720 rows up, else 601.

    Source: ITU-R BT.601, BT.709 and BT.2020 quantisation; tag numbers of ITU-T H.273.
    """
    layout = LAYOUTS[pix_fmt]
    kr, kb = _WEIGHTS.get(matrix, _WEIGHTS[1] if height >= 720 else _WEIGHTS[6])
    full = color_range == _FULL_RANGE or pix_fmt.startswith("yuvj")
    luma = np.array([kr, 1 - kr - kb, kb])
    blue, red = (np.eye(3)[2] - luma) / (2 * (1 - kb)), (np.eye(3)[0] - luma) / (2 * (1 - kr))
    step = float(1 << (layout.bits - 8))
    top = float((1 << layout.bits) - 1)
    spans = (top, top) if full else (219 * step, 224 * step)
    linear = np.stack([luma * spans[0], blue * spans[1], red * spans[1]]) / 255.0
    offset = np.array([0.0 if full else 16 * step, 128 * step, 128 * step])
    inverse = np.linalg.inv(linear)
    return ColorSpace(
        layout,
        to_rgb=np.column_stack([inverse, -inverse @ offset]).astype(np.float32),
        from_rgb=np.column_stack([linear, offset]).astype(np.float32),
    )


def _chroma_box(box: Box, layout: Layout) -> Box:
    """The chroma samples that belong to the luma pixels of `box`."""
    x, y = layout.shift_x, layout.shift_y
    return Box(box.x0 >> x, box.y0 >> y, -(-box.x1 >> x), -(-box.y1 >> y))


def region_rgb(planes: tuple[Plane, Plane, Plane], space: ColorSpace, box: Box) -> U8:
    """RGB [h w 3] of `box`.

    A chroma sample stands for all the luma pixels of its cell, the exact opposite of the mean that
    `blend` takes, so pixels that come back unchanged are stored unchanged (within rounding).
    """
    layout = space.layout
    cell = _chroma_box(box, layout)
    luma = planes[0][box.y0 : box.y1, box.x0 : box.x1]
    chroma: list[Any] = [plane[cell.y0 : cell.y1, cell.x0 : cell.x1] for plane in planes[1:]]
    if layout.shift_x or layout.shift_y:
        size = (cell.width << layout.shift_x, cell.height << layout.shift_y)
        x, y = box.x0 - (cell.x0 << layout.shift_x), box.y0 - (cell.y0 << layout.shift_y)
        chroma = [
            cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)[y : y + box.height, x : x + box.width]
            for part in chroma
        ]
    rgb = cv2.transform(cv2.merge([luma, *chroma]), space.to_rgb)
    if rgb.dtype != np.uint8:
        rgb = np.minimum(rgb, 255).astype(np.uint8)
    return np.asarray(rgb, dtype=np.uint8).reshape(box.height, box.width, 3)


def _cell_aligned(image: F32, box: Box, aligned: Box, limit: Box) -> F32:
    """`image` of `box` grown to `aligned`: zeros inside the picture, edge pixels repeated beyond `limit`."""
    right, bottom = min(aligned.x1, limit.x1) - box.x1, min(aligned.y1, limit.y1) - box.y1
    grown = cv2.copyMakeBorder(
        image, box.y0 - aligned.y0, bottom, box.x0 - aligned.x0, right, cv2.BORDER_CONSTANT, value=0
    )
    beyond = (aligned.y1 - limit.y1, aligned.x1 - limit.x1)
    if max(beyond) > 0:
        grown = cv2.copyMakeBorder(grown, 0, max(beyond[0], 0), 0, max(beyond[1], 0), cv2.BORDER_REPLICATE)
    return np.asarray(grown, dtype=np.float32)


def blend(planes: tuple[Plane, Plane, Plane], space: ColorSpace, patch: Patch) -> None:
    """Mix `patch` into writable `planes`; samples whose pixels all have alpha 0 stay bit exact.

    Parts of the patch outside the picture are ignored. Computed in float at the depth of the planes.
    """
    height, width = planes[0].shape
    box = patch.box.clipped(width, height)
    if box.width == 0 or box.height == 0:
        return
    x, y = box.x0 - patch.box.x0, box.y0 - patch.box.y0
    rgb = patch.rgb[y : y + box.height, x : x + box.width]
    alpha = np.ascontiguousarray(patch.alpha[y : y + box.height, x : x + box.width], dtype=np.float32)
    stored = cv2.transform(rgb.astype(np.float32), space.from_rgb).reshape(box.height, box.width, 3)
    luma, blue, red = (np.ascontiguousarray(stored[..., part], np.float32) for part in range(3))
    _mix(planes[0][box.y0 : box.y1, box.x0 : box.x1], luma * alpha, alpha, space.layout.bits)
    cell = _chroma_box(box, space.layout)
    for plane, wanted in ((planes[1], blue), (planes[2], red)):
        share, weight = _per_cell(wanted * alpha, alpha, box, cell, space.layout, Box(0, 0, width, height))
        _mix(plane[cell.y0 : cell.y1, cell.x0 : cell.x1], share, weight, space.layout.bits)


def _per_cell(share: F32, alpha: F32, box: Box, cell: Box, layout: Layout, limit: Box) -> tuple[F32, F32]:
    """Means of the weighted samples and of their weights over each chroma cell."""
    if not layout.shift_x and not layout.shift_y:
        return share, alpha
    aligned = Box(
        cell.x0 << layout.shift_x, cell.y0 << layout.shift_y, cell.x1 << layout.shift_x, cell.y1 << layout.shift_y
    )
    both = _cell_aligned(np.dstack([share, alpha]), box, aligned, limit)
    mean: F32 = np.asarray(cv2.resize(both, (cell.width, cell.height), interpolation=cv2.INTER_AREA), np.float32)
    mean = mean.reshape(cell.height, cell.width, 2)
    return mean[..., 0], mean[..., 1]


def _mix(target: Plane, share: F32, weight: F32, bits: int) -> None:
    """Write (1 - weight) * target + share, rounded, into `target`."""
    mixed = target * (np.float32(1) - weight) + share
    target[...] = np.clip(np.rint(mixed), 0, (1 << bits) - 1)
