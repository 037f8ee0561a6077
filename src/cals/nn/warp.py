"""Moving pixels with the triangles of a mesh."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

_SUBPIXEL_BITS = 4
_FINE = 4
"""Polygons are drawn so many times larger."""
_LEAST_AREA = 1e-3  # of a triangle, in pixels: below it its map is not defined
_RIM_PX = 1.0
"""Triangles are drawn a little fat, and what a sliver says of places outside itself is wild: no further than this."""


def triangulate(points: NDArray[np.floating]) -> NDArray[np.int64]:
    """Delaunay triangles [n 3] (indices) of points [v 2]."""
    low, high = points.min(axis=0) - 1, points.max(axis=0) + 1
    subdivision = cv2.Subdiv2D((*np.floor(low).astype(int), *np.ceil(high - low + 1).astype(int)))
    subdivision.insert(points.astype(np.float32).tolist())
    corners = np.asarray(subdivision.getTriangleList()).reshape(-1, 3, 2)
    distances = np.linalg.norm(corners[:, :, None] - points.astype(np.float32), axis=-1)
    inside = distances.min(axis=-1).max(axis=-1) < 1e-3  # the others hang on the corners of the subdivision itself
    return np.asarray(distances.argmin(axis=-1)[inside], dtype=np.int64)


def draw_triangles(vertices: Tensor, triangles: Tensor, height: int, width: int) -> Tensor:
    """Which triangle covers each pixel: vertices [b v 2] in pixels, triangles [n 3] -> [b h w], -1 where none does.

    A later triangle is drawn over an earlier one. Not differentiable, and drawn on the CPU wherever the tensors are.
    """
    corners = np.ascontiguousarray(fixed_point(vertices)[:, triangles.cpu().numpy()])  # [b n 3 2]
    maps = np.full((len(corners), height, width), -1, dtype=np.int32)
    for canvas, shapes in zip(maps, corners, strict=True):
        for number, shape in enumerate(shapes):
            cv2.fillConvexPoly(canvas, shape, number, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    return torch.from_numpy(maps).to(vertices.device).long()


def draw_polygon(corners: Tensor, height: int, width: int) -> Tensor:
    """Soft-edged inside of polygons [b n 2] in pixels -> [b 1 h w] in 0..1; on the CPU, not differentiable."""
    masks = np.zeros((len(corners), height, width), dtype=np.float32)
    shapes = corners.detach().float().cpu()
    # cv2 paints the outline too, half a pixel fat: of small pixels, of which the large ones then show the share.
    for mask, shape in zip(masks, shapes, strict=True):
        left, top = (max(0, int(value)) for value in shape.amin(dim=0).floor().tolist())
        right, bottom = (int(value) + 1 for value in shape.amax(dim=0).ceil().tolist())
        right, bottom = min(right, width), min(bottom, height)
        if right <= left or bottom <= top:
            continue
        fine = np.zeros(((bottom - top) * _FINE, (right - left) * _FINE), dtype=np.uint8)
        outline = fixed_point((shape - torch.tensor([left, top])) * _FINE)
        cv2.fillPoly(fine, [outline], 255, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
        part = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        mask[top:bottom, left:right] = part
    return torch.from_numpy(masks).to(corners.device)[:, None] / 255


def fixed_point(points: Tensor) -> NDArray[np.int32]:
    """Pixel coordinates as cv2 draws them: whole numbers of sixteenths, pixel centres at whole pixels."""
    values = points.detach().float().cpu().numpy()
    return np.rint((values - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def pixel_centres(height: int, width: int, device: torch.device) -> Tensor:
    """[h w 2], x before y."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij"
    )
    return torch.stack([x, y], dim=-1)


def source_places(target: Tensor, source: Tensor, triangles: Tensor, covering: Tensor) -> Tensor:
    """Where each pixel comes from, [b h w 2] in source pixels, affine within each triangle.

    `target` and `source` [b v 2] are the vertices after and before; `covering` is `draw_triangles` of the target.
    Differentiable in both; a pixel under no triangle stays.
    """
    corners, origins = target[:, triangles], source[:, triangles]  # [b n 3 2]
    edges, moved = corners[:, :, 1:] - corners[:, :, :1], origins[:, :, 1:] - origins[:, :, :1]
    (ax, ay), (bx, by) = edges[:, :, 0].unbind(-1), edges[:, :, 1].unbind(-1)
    area = ax * by - ay * bx
    flat = area.abs() < _LEAST_AREA
    inverse = torch.stack([by, -ay, -bx, ax], dim=-1) / torch.where(flat, 1.0, area)[..., None]
    linear = inverse.unflatten(-1, (2, 2)) @ moved  # type: ignore[no-untyped-call]
    ends = [origins.amin(dim=2) - _RIM_PX, origins.amax(dim=2) + _RIM_PX]
    affine = torch.cat([linear.flatten(2), corners[:, :, 0], origins[:, :, 0], *ends], dim=-1)  # [b n 12]
    batch, height, width = covering.shape
    index = covering.clamp_min(0).flatten(1)[..., None].expand(-1, -1, affine.shape[-1])
    parts = affine.gather(1, index).view(batch, height, width, -1)
    matrix, corner, origin, low, high = torch.split(parts, [4, 2, 2, 2, 2], dim=-1)
    here = pixel_centres(height, width, target.device).expand(batch, -1, -1, -1)
    away = here - corner
    come = origin + torch.stack(
        [
            away[..., 0] * matrix[..., 0] + away[..., 1] * matrix[..., 2],
            away[..., 0] * matrix[..., 1] + away[..., 1] * matrix[..., 3],
        ],
        dim=-1,
    )
    return torch.where((covering >= 0)[..., None], come.clamp(low, high), here)


def sample_places(pictures: Tensor, places: Tensor) -> Tensor:
    """Pictures [b c h w] read at places [b y x 2] in pixels, bilinear; the edge goes on outside."""
    height, width = pictures.shape[-2:]
    size = torch.tensor([width, height], device=places.device, dtype=places.dtype)
    return grid_sample(pictures, places / size * 2 - 1, padding_mode="border", align_corners=False)
