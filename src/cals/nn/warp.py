"""Warping images with the triangles of a mesh."""

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.arrays import Array, convert_like, get_namespace, to_numpy

_SUBPIXEL_BITS = 4
_OVERSAMPLING = 4
"""Polygons are drawn this many times larger, to get soft edges."""
_MIN_AREA = 1e-3  # of a triangle, in square pixels: below this its affine map is not defined
_RIM_PX = 1.0
"""Largest extrapolation outside a triangle. Triangles are drawn slightly too large, and slivers extrapolate badly."""
_IDENTITY = np.array([1, 0, 0, 1, 0, 0, -np.inf, -np.inf, np.inf, np.inf], dtype=np.float32)
"""The map of a pixel that no triangle covers: the row after those of the triangles, which index -1 selects."""


def triangulate(points: NDArray[np.floating]) -> NDArray[np.int64]:
    """Compute the Delaunay triangles [n 3] (indices) of points [v 2]."""
    low, high = points.min(axis=0) - 1, points.max(axis=0) + 1
    subdivision = cv2.Subdiv2D((*np.floor(low).astype(int), *np.ceil(high - low + 1).astype(int)))
    subdivision.insert(points.astype(np.float32).tolist())
    corners = np.asarray(subdivision.getTriangleList()).reshape(-1, 3, 2)
    distances = np.linalg.norm(corners[:, :, None] - points.astype(np.float32), axis=-1)
    inside = distances.min(axis=-1).max(axis=-1) < 1e-3  # the others use corners of the subdivision itself
    return np.asarray(distances.argmin(axis=-1)[inside], dtype=np.int64)


def draw_triangles(vertices: Array, triangles: Array, height: int, width: int) -> Array:
    """Draw the index of the triangle that covers each pixel, [b h w], -1 where none does.

    `vertices` are [b v 2] in pixels, `triangles` [n 3]. A later triangle covers an earlier one. Not differentiable, and
    drawn on the CPU, wherever the tensors are.
    """
    corners = np.ascontiguousarray(_round_to_subpixels(vertices)[:, to_numpy(triangles)])  # [b n 3 2]
    index_maps = np.full((len(corners), height, width), -1, dtype=np.int32)
    for canvas, polygons in zip(index_maps, corners, strict=True):
        for index, polygon in enumerate(polygons):
            # by position: cv2 takes a quarter less time for hundreds of small triangles without names
            cv2.fillConvexPoly(canvas, polygon, index, cv2.LINE_8, _SUBPIXEL_BITS)
    return convert_like(index_maps.astype(np.int64), vertices)


def draw_polygon(corners: Array, height: int, width: int) -> Array:
    """Draw filled polygons [b n 2] in pixels as soft masks [b 1 h w] in 0..1; on the CPU, not differentiable."""
    masks = np.zeros((len(corners), height, width), dtype=np.float32)
    polygons = to_numpy(corners).astype(np.float32)
    # cv2 also draws the outline, half a pixel wide. Drawn oversampled and averaged, that error stays small.
    for mask, polygon in zip(masks, polygons, strict=True):
        left, top = (max(0, int(value)) for value in np.floor(polygon.min(axis=0)).tolist())
        right, bottom = (int(value) + 1 for value in np.ceil(polygon.max(axis=0)).tolist())
        right, bottom = min(right, width), min(bottom, height)
        if right <= left or bottom <= top:
            continue
        fine = np.zeros(((bottom - top) * _OVERSAMPLING, (right - left) * _OVERSAMPLING), dtype=np.uint8)
        outline = _round_to_subpixels((polygon - np.array([left, top], np.float32)) * _OVERSAMPLING)
        cv2.fillPoly(fine, [outline], 255, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
        part = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        mask[top:bottom, left:right] = part
    return convert_like(masks, corners)[:, None] / 255


def _round_to_subpixels(points: Array) -> NDArray[np.int32]:
    """Convert pixel coordinates to those of cv2: integer sixteenths, pixel centres at whole pixels."""
    values = to_numpy(points).astype(np.float32)
    return np.rint((values - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def build_pixel_centres(height: int, width: int, device: Any = None) -> Array:
    """Return the pixel centres [h w 2], x before y: a tensor on a torch device, else a NumPy array."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    centres = np.stack([x, y], axis=-1) + np.float32(0.5)
    return centres if device is None else sys.modules["torch"].asarray(centres, device=device)


def compute_source_grid(target: Array, source: Array, triangles: Array, covering: Array) -> Array:
    """Compute the source position of each target pixel, [b h w 2] in pixels, affine within each triangle.

    `target` and `source` [b v 2] are the vertices after and before; `covering` is `draw_triangles` of the target.
    Differentiable in both. A pixel that no triangle covers keeps its position.
    """
    xp = get_namespace(target)
    corners, origins = target[:, triangles], source[:, triangles]  # [b n 3 2]
    edges, source_edges = corners[:, :, 1:] - corners[:, :, :1], origins[:, :, 1:] - origins[:, :, :1]
    ax, ay, bx, by = (edges[:, :, side, axis] for side in (0, 1) for axis in (0, 1))
    area = ax * by - ay * bx
    degenerate = abs(area) < _MIN_AREA
    inverse = xp.stack([by, -ay, -bx, ax], -1) / xp.where(degenerate, 1.0, area)[..., None]
    linear = inverse.reshape(*inverse.shape[:-1], 2, 2) @ source_edges
    shift = origins[:, :, 0] - (corners[:, :, :1] @ linear)[:, :, 0]
    bounds = [xp.amin(origins, 2) - _RIM_PX, xp.amax(origins, 2) + _RIM_PX]
    affine = xp.concatenate([linear.reshape(*linear.shape[:-2], 4), shift, *bounds], -1)  # [b n 10]
    affine = xp.concatenate([affine, convert_like(_IDENTITY, affine) + xp.zeros_like(affine[:, :1])], 1)
    rows = affine[convert_like(np.arange(len(target))[:, None, None], covering), covering]
    centres = convert_like(build_pixel_centres(*covering.shape[1:]), target)
    sources = centres[..., :1] * rows[..., 0:2] + centres[..., 1:] * rows[..., 2:4] + rows[..., 4:6]
    return sources.clip(rows[..., 6:8], rows[..., 8:])


def sample_grid(pictures: Array, places: Array) -> Array:
    """Sample pictures [b c h w] at places [b y x 2] in pixels, bilinear; the edge is repeated outside."""
    height, width = pictures.shape[-2:]
    size = convert_like(np.array([width, height], np.float32), places)
    grid_sample = get_namespace(pictures).nn.functional.grid_sample
    places = places.clamp_min(0.5).minimum(size - 0.5)  # instead of the padding "border", which MPS lacks
    return grid_sample(pictures, places / size * 2 - 1, align_corners=False)
