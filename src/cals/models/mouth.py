"""Warps of a person's mouth to another shape: for each pixel of a face, its place in a source frame."""

import numpy as np
from numpy.typing import NDArray

from cals.arrays import Array, convert_like, copy_array, disable_autocast, get_namespace
from cals.face.landmarks import MOUTH_INNER
from cals.models.geometry import MeshGeometry, measure_lip_gap
from cals.nn.warp import compute_source_grid, draw_triangles

_MAX_STRETCH, _FADE_PX = 2.5, 2.0
"""The largest factor by which a mouth opening is stretched, and the width in pixels of the transition beyond it."""
_GOOD_STRETCH = 1.5
"""The factor up to which that is hardly visible."""
_MIN_GAP_PX = 0.05
"""Smallest lip gap: closed lips stay this far apart so that the triangles between them keep their orientation."""


def _build_inner_triangles() -> NDArray[np.int64]:
    """Build the triangles [18 3] between the inner lips."""
    top, bottom = MOUTH_INNER[:11], (MOUTH_INNER[0], *MOUTH_INNER[:9:-1])
    strip = [
        corners
        for i in range(10)
        for corners in ((top[i], top[i + 1], bottom[i + 1]), (top[i], bottom[i + 1], bottom[i]))
        if len(set(corners)) == 3  # at the corners of the mouth both lips share a point
    ]
    return np.array(strip, np.int64)


_INNER_TRIANGLES = _build_inner_triangles()


@disable_autocast
def compute_mouth_flow(mesh: MeshGeometry, source: Array, target: Array, size_px: int) -> Array:
    """Compute the sampling grid [b h w 2] that warps images with landmarks `source` [b 468 3] to `target` [b 468 3].

    The whole lower face moves: lips, teeth and chin. The inner mouth moves with the lips around it and is drawn below
    them.
    """
    target = separate_lips(target)
    triangles = get_namespace(target).concatenate(
        [convert_like(_INNER_TRIANGLES, mesh.triangles), mesh.lower_triangles]
    )
    before, after = mesh.build_vertices(separate_lips(source), source), mesh.build_vertices(target, target)
    return compute_source_grid(after, before, triangles, draw_triangles(after, triangles, size_px, size_px))


def separate_lips(landmarks: Array) -> Array:
    """Return landmarks [b 468 3] whose inner lips never cross; lips that would cross meet in the middle."""
    upper, lower = list(MOUTH_INNER[1:10]), list(MOUTH_INNER[:10:-1])
    above, below = landmarks[:, upper, 1], landmarks[:, lower, 1]
    middle, half = (above + below) / 2, ((below - above) / 2).clip(_MIN_GAP_PX / 2)
    result = copy_array(landmarks)
    result[:, upper, 1], result[:, lower, 1] = middle - half, middle + half
    return result


def estimate_hidden_share(source: Array, target: Array) -> float:
    """Estimate how much of the target's inner mouth the source does not show: 0 none, 1 all; landmarks [468 3]."""
    return float(_compute_excess(measure_lip_gap(source), measure_lip_gap(target), _MAX_STRETCH))


def compute_stretch_share(source_gap: Array, target_gap: Array) -> Array:
    """Compute how visibly a source's opening is stretched, 0..1, from lip gaps in pixels, of any shapes that fit."""
    return _compute_excess(source_gap, target_gap, _GOOD_STRETCH)


def _compute_excess(source_gap: Array, target_gap: Array, stretch: float) -> Array:
    return ((target_gap - stretch * source_gap.clip(0)) / _FADE_PX).clip(0, 1)


def match_brightness(moved: Array, crops: Array) -> Array:
    """Match the brightness of `moved` to `crops`, both [b 3 h w]: a gain per colour from the lower halves' means."""
    half = crops.shape[-2] // 2
    target, current = (image[..., half:, :].mean((2, 3))[..., None, None] for image in (crops, moved))
    return (moved * (target / current.clip(1e-3)).clip(0.1, 4.0)).clip(0, 1)
