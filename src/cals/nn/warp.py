"""Warping images with the triangles of a mesh."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

_SUBPIXEL_BITS = 4
_OVERSAMPLING = 4
"""Polygons are drawn this many times larger, to get soft edges."""
_MIN_AREA = 1e-3  # of a triangle, in square pixels: below this its affine map is not defined
_RIM_PX = 1.0
"""Largest extrapolation outside a triangle. Triangles are drawn slightly too large, and slivers extrapolate badly."""


def triangulate(points: NDArray[np.floating]) -> NDArray[np.int64]:
    """Compute the Delaunay triangles [n 3] (indices) of points [v 2]."""
    low, high = points.min(axis=0) - 1, points.max(axis=0) + 1
    subdivision = cv2.Subdiv2D((*np.floor(low).astype(int), *np.ceil(high - low + 1).astype(int)))
    subdivision.insert(points.astype(np.float32).tolist())
    corners = np.asarray(subdivision.getTriangleList()).reshape(-1, 3, 2)
    distances = np.linalg.norm(corners[:, :, None] - points.astype(np.float32), axis=-1)
    inside = distances.min(axis=-1).max(axis=-1) < 1e-3  # the others use corners of the subdivision itself
    return np.asarray(distances.argmin(axis=-1)[inside], dtype=np.int64)


def draw_triangles(vertices: Tensor, triangles: Tensor, height: int, width: int) -> Tensor:
    """Draw the index of the triangle that covers each pixel, [b h w], -1 where none does.

    `vertices` are [b v 2] in pixels, `triangles` [n 3]. A later triangle covers an earlier one. Not differentiable, and
    drawn on the CPU, wherever the tensors are.
    """
    corners = np.ascontiguousarray(_to_fixed_point(vertices)[:, triangles.cpu().numpy()])  # [b n 3 2]
    index_maps = np.full((len(corners), height, width), -1, dtype=np.int32)
    for canvas, polygons in zip(index_maps, corners, strict=True):
        for index, polygon in enumerate(polygons):
            cv2.fillConvexPoly(canvas, polygon, index, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    return torch.from_numpy(index_maps).to(vertices.device).long()


def draw_polygon(corners: Tensor, height: int, width: int) -> Tensor:
    """Draw filled polygons [b n 2] in pixels as soft masks [b 1 h w] in 0..1; on the CPU, not differentiable."""
    masks = np.zeros((len(corners), height, width), dtype=np.float32)
    polygons = corners.detach().float().cpu()
    # cv2 also draws the outline, half a pixel wide. Drawn oversampled and averaged, that error stays small.
    for mask, polygon in zip(masks, polygons, strict=True):
        left, top = (max(0, int(value)) for value in polygon.amin(dim=0).floor().tolist())
        right, bottom = (int(value) + 1 for value in polygon.amax(dim=0).ceil().tolist())
        right, bottom = min(right, width), min(bottom, height)
        if right <= left or bottom <= top:
            continue
        fine = np.zeros(((bottom - top) * _OVERSAMPLING, (right - left) * _OVERSAMPLING), dtype=np.uint8)
        outline = _to_fixed_point((polygon - torch.tensor([left, top])) * _OVERSAMPLING)
        cv2.fillPoly(fine, [outline], 255, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
        part = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        mask[top:bottom, left:right] = part
    return torch.from_numpy(masks).to(corners.device)[:, None] / 255


def _to_fixed_point(points: Tensor) -> NDArray[np.int32]:
    """Convert pixel coordinates to those of cv2: integer sixteenths, pixel centres at whole pixels."""
    values = points.detach().float().cpu().numpy()
    return np.rint((values - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def build_pixel_centres(height: int, width: int, device: torch.device) -> Tensor:
    """Return the pixel centres [h w 2], x before y."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij"
    )
    return torch.stack([x, y], dim=-1)


def compute_source_grid(target: Tensor, source: Tensor, triangles: Tensor, covering: Tensor) -> Tensor:
    """Compute the source position of each target pixel, [b h w 2] in pixels, affine within each triangle.

    `target` and `source` [b v 2] are the vertices after and before; `covering` is `draw_triangles` of the target.
    Differentiable in both. A pixel that no triangle covers keeps its position.
    """
    corners, origins = target[:, triangles], source[:, triangles]  # [b n 3 2]
    edges, source_edges = corners[:, :, 1:] - corners[:, :, :1], origins[:, :, 1:] - origins[:, :, :1]
    (ax, ay), (bx, by) = edges[:, :, 0].unbind(-1), edges[:, :, 1].unbind(-1)
    area = ax * by - ay * bx
    degenerate = area.abs() < _MIN_AREA
    inverse = torch.stack([by, -ay, -bx, ax], dim=-1) / torch.where(degenerate, 1.0, area)[..., None]
    linear = inverse.unflatten(-1, (2, 2)) @ source_edges  # type: ignore[no-untyped-call]
    shift = origins[:, :, 0] - (corners[:, :, :1] @ linear)[:, :, 0]
    bounds = [origins.amin(dim=2) - _RIM_PX, origins.amax(dim=2) + _RIM_PX]
    affine = torch.cat([linear.flatten(2), shift, *bounds], dim=-1)  # [b n 10]
    batch, height, width = covering.shape
    pixels = build_pixel_centres(height, width, target.device).to(target.dtype).expand(batch, -1, -1, -1)
    covered = torch.nonzero(covering >= 0, as_tuple=True)
    matrix, origin, low, high = torch.split(affine[covered[0], covering[covered]], [4, 2, 2, 2], dim=-1)
    x, y = pixels[covered].unbind(-1)
    sources = torch.stack([x * matrix[:, 0] + y * matrix[:, 2], x * matrix[:, 1] + y * matrix[:, 3]], dim=-1) + origin
    return pixels.index_put(covered, sources.clamp(low, high))


def sample_grid(pictures: Tensor, places: Tensor) -> Tensor:
    """Sample pictures [b c h w] at places [b y x 2] in pixels, bilinear; the edge is repeated outside."""
    height, width = pictures.shape[-2:]
    size = torch.tensor([width, height], device=places.device, dtype=places.dtype)
    return grid_sample(pictures, places / size * 2 - 1, padding_mode="border", align_corners=False)
