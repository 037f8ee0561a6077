"""Conversion of regions of planar YUV pictures to 8-bit RGB and back; nothing outside the region changes."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

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
_STRIP_ROWS = 64
"""Rows that are blended at a time: whole cells of chroma, and few enough to stay in a processor's cache."""


@dataclass(frozen=True)
class Layout:
    """Sample layout of a planar pixel format."""

    bits: int
    shift_x: int
    """log2 of luma columns per chroma sample."""
    shift_y: int
    """log2 of luma rows per chroma sample."""


LAYOUTS = {
    f"{prefix}{name}p{suffix}": Layout(10 if suffix else 8, shift_x, shift_y)
    for name, shift_x, shift_y in (("420", 1, 1), ("422", 1, 0), ("444", 0, 0))
    for prefix, suffix in (("yuv", ""), ("yuvj", ""), ("yuv", "10le"), ("yuva", ""), ("yuva", "10le"))
}
"""The pixel formats that are patched in place; all others are converted to one of them first.

A fourth plane, alpha, is passed on unchanged.
"""


@dataclass(frozen=True)
class ColorSpace:
    """The linear maps between the stored samples of a picture and RGB in 0..255."""

    layout: Layout
    to_rgb: NDArray[np.float32]
    """[3 4] from stored Y, Cb, Cr to R, G, B."""
    from_rgb: NDArray[np.float32]
    """[3 4] from R, G, B to stored Y, Cb, Cr."""


@lru_cache(maxsize=64)
def get_color_space(pix_fmt: str, matrix: int, color_range: int, height: int) -> ColorSpace:
    """Return the colour space of a picture from its tags; an unknown `matrix` means 709 from 720 rows up, else 601.

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


def _compute_chroma_box(box: Box, layout: Layout) -> Box:
    """Return the chroma samples that belong to the luma pixels of `box`."""
    x, y = layout.shift_x, layout.shift_y
    return Box(box.x0 >> x, box.y0 >> y, -(-box.x1 >> x), -(-box.y1 >> y))


def _read_region(planes: tuple[Plane, Plane, Plane], layout: Layout, box: Box) -> Plane:
    """Read the stored samples [h w 3] of `box`; a chroma sample is repeated for all luma pixels of its cell."""
    cells = _compute_chroma_box(box, layout)
    luma = planes[0][box.y0 : box.y1, box.x0 : box.x1]
    chroma: list[Any] = [plane[cells.y0 : cells.y1, cells.x0 : cells.x1] for plane in planes[1:]]
    if layout.shift_x or layout.shift_y:
        size = (cells.width << layout.shift_x, cells.height << layout.shift_y)
        x, y = box.x0 - (cells.x0 << layout.shift_x), box.y0 - (cells.y0 << layout.shift_y)
        chroma = [
            cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)[y : y + box.height, x : x + box.width]
            for part in chroma
        ]
    merged: Any = cv2.merge([luma, *chroma])
    return cast(Plane, merged.reshape(box.height, box.width, 3))


def _average_region(planes: tuple[Plane, Plane, Plane], layout: Layout, box: Box, blocks: int) -> Plane:
    """Average the samples of `box` over `blocks` x `blocks` pixels, before chroma is repeated: a sixth of the work.

    The last blocks may reach beyond the box, and repeat the edge beyond the picture.
    """
    size = (-(-box.width // blocks), -(-box.height // blocks))
    means = []
    for plane, x, y in zip(planes, (0, *[layout.shift_x] * 2), (0, *[layout.shift_y] * 2), strict=True):
        # as many blocks as end at a whole sample
        across, down = (count + (count * blocks % (1 << shift)) for count, shift in zip(size, (x, y), strict=True))
        width, height = across * blocks >> x, down * blocks >> y
        part = plane[box.y0 >> y : (box.y0 >> y) + height, box.x0 >> x : (box.x0 >> x) + width]
        missing = (height - part.shape[0], width - part.shape[1])
        if any(missing):
            part = cast(Plane, cv2.copyMakeBorder(part, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE))
        means.append(cv2.resize(part, (across, down), interpolation=cv2.INTER_AREA)[: size[1], : size[0]])
    merged: Any = cv2.merge(means)
    return cast(Plane, merged.reshape(size[1], size[0], 3))


def _convert_to_rgb(stored: Plane, space: ColorSpace) -> U8:
    rgb = cv2.transform(stored, space.to_rgb)
    if rgb.dtype != np.uint8:
        rgb = np.minimum(rgb, 255).astype(np.uint8)
    return np.asarray(rgb, dtype=np.uint8).reshape(stored.shape)


def convert_region(planes: tuple[Plane, Plane, Plane], space: ColorSpace, box: Box, blocks: int = 1) -> U8:
    """Convert `box`, averaged over `blocks` x `blocks` pixels, to RGB [h w 3] in 8 bits, clipped to the RGB cube."""
    if blocks > 1:
        return _convert_to_rgb(_average_region(planes, space.layout, box, blocks), space)
    return _convert_to_rgb(_read_region(planes, space.layout, box), space)


@dataclass(frozen=True, eq=False)
class Cutout:
    """The stored samples of a part of a picture: half the memory of its RGB pixels, or a third."""

    planes: tuple[Plane, Plane, Plane]
    space: ColorSpace
    box: Box
    """The part, in the pixels of `planes`, which begin at whole cells of chroma."""

    @property
    def nbytes(self) -> int:
        return sum(plane.nbytes for plane in self.planes)

    def rgb(self) -> U8:
        """Return the pixels, RGB [h w 3]."""
        return convert_region(self.planes, self.space, self.box)


def cut_region(planes: tuple[Plane, Plane, Plane], space: ColorSpace, box: Box) -> Cutout:
    """Copy the samples of `box`."""
    layout = space.layout
    cells = _compute_chroma_box(box, layout)
    x, y = cells.x0 << layout.shift_x, cells.y0 << layout.shift_y
    luma = planes[0][y : box.y1, x : box.x1].copy()
    blue, red = (plane[cells.y0 : cells.y1, cells.x0 : cells.x1].copy() for plane in planes[1:])
    return Cutout((luma, blue, red), space, Box(box.x0 - x, box.y0 - y, box.x1 - x, box.y1 - y))


def _pad_to_cells(image: F32, box: Box, aligned: Box, limit: Box) -> F32:
    """Pad `image` of `box` to `aligned`: zeros inside the picture, edge pixels repeated beyond `limit`."""
    right, bottom = min(aligned.x1, limit.x1) - box.x1, min(aligned.y1, limit.y1) - box.y1
    padded = cv2.copyMakeBorder(
        image, box.y0 - aligned.y0, bottom, box.x0 - aligned.x0, right, cv2.BORDER_CONSTANT, value=0
    )
    overhang = (aligned.y1 - limit.y1, aligned.x1 - limit.x1)
    if max(overhang) > 0:
        padded = cv2.copyMakeBorder(padded, 0, max(overhang[0], 0), 0, max(overhang[1], 0), cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.float32)


def blend(planes: tuple[Plane, Plane, Plane], space: ColorSpace, patch: Patch) -> None:
    """Blend `patch` into writable `planes`; samples whose pixels all have alpha 0 or keep their RGB stay bit exact.

    The difference between the patch and `convert_region` is added. So the depth of the samples beyond 8 bits survives a
    patch, and their headroom beyond black and white survives where the patch changes nothing.
    Parts of the patch outside the picture are ignored.
    """
    height, width = planes[0].shape
    box = patch.box.clip(width, height)
    if box.width == 0 or box.height == 0:
        return
    rows = [box.y0, *range(box.y0 - box.y0 % _STRIP_ROWS + _STRIP_ROWS, box.y1, _STRIP_ROWS), box.y1]
    for y0, y1 in pairwise(rows):
        _blend_part(planes, space, patch, Box(box.x0, y0, box.x1, y1))


def _blend_part(planes: tuple[Plane, Plane, Plane], space: ColorSpace, patch: Patch, box: Box) -> None:
    """Blend the part of `patch` in `box`, which lies in the picture and ends at whole cells of chroma inside it."""
    height, width = planes[0].shape
    x, y = box.x0 - patch.box.x0, box.y0 - patch.box.y0
    rgb = patch.rgb[y : y + box.height, x : x + box.width]
    alpha = np.ascontiguousarray(patch.alpha[y : y + box.height, x : x + box.width], dtype=np.float32)
    change = _compute_change(_read_region(planes, space.layout, box), rgb, space)
    linear = np.ascontiguousarray(space.from_rgb[:, :3])
    delta = cv2.transform(cv2.multiply(change, cv2.merge([alpha] * 3)), linear).reshape(change.shape)
    luma, *chroma = (np.asarray(part, np.float32) for part in cv2.split(delta))
    _add_to_plane(planes[0][box.y0 : box.y1, box.x0 : box.x1], luma, space.layout.bits)
    cell = _compute_chroma_box(box, space.layout)
    for plane, values in zip(planes[1:], chroma, strict=True):
        mean = _average_per_cell(values, box, cell, space.layout, Box(0, 0, width, height))
        _add_to_plane(plane[cell.y0 : cell.y1, cell.x0 : cell.x1], mean, space.layout.bits)


def _compute_change(stored: Plane, rgb: U8, space: ColorSpace) -> F32:
    """Compute the change from `stored` samples to `rgb`, in levels [h w 3]; exactly 0 for pixels that already agree."""
    current = _convert_to_rgb(stored, space)
    change = np.asarray(cv2.subtract(rgb, current, dtype=cv2.CV_32F), np.float32).reshape(current.shape)
    if current.min() == 0 or current.max() == 255:
        # A new colour is stored exactly, without the excess of the old one beyond the RGB cube.
        exact = np.asarray(cv2.transform(stored.astype(np.float32), space.to_rgb)).reshape(current.shape)
        is_changed = cv2.bitwise_not(cv2.inRange(change, (0, 0, 0), (0, 0, 0)))
        cv2.subtract(change, exact - np.clip(exact, 0, 255), dst=change, mask=is_changed)
    return change


def _average_per_cell(values: F32, box: Box, cell: Box, layout: Layout, limit: Box) -> F32:
    """Average `values` [h w] over each chroma cell."""
    if not layout.shift_x and not layout.shift_y:
        return values
    aligned = Box(
        cell.x0 << layout.shift_x, cell.y0 << layout.shift_y, cell.x1 << layout.shift_x, cell.y1 << layout.shift_y
    )
    padded = _pad_to_cells(values, box, aligned, limit)
    mean = cv2.resize(padded, (cell.width, cell.height), interpolation=cv2.INTER_AREA)
    return np.asarray(mean, np.float32).reshape(cell.height, cell.width)


def _add_to_plane(target: Plane, change: F32, bits: int) -> None:
    """Write target + change, rounded, into `target`."""
    target[...] = np.clip(np.rint(target + change), 0, (1 << bits) - 1)
