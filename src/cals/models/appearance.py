"""Appearance of the mouth: what lips, teeth and tongue look like, apart from where the mesh has them.

Two mouths of one shape may show teeth or a tongue, and a tracker's mesh is blind to that: on GRID a lip reader reads
9 % of the words where a frame's mouth is chosen by its shape, and four times as many where appearance counts too.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.arrays import Array, convert_like, disable_autocast, get_namespace, square, to_numpy
from cals.face.patches import PATCH_OVERSAMPLING, PATCH_PX
from cals.models.geometry import REST_QUANTILE, MeshGeometry, estimate_similarity
from cals.types import F32

_SPAN_PX = (48.0, 32.0)
"""Width and height of what a patch covers, in pixels of a crop of 128."""
_BELOW_PX = 4.0
"""The patch's middle lies this far below the middle between the corners of the mouth at rest."""
_CORNERS = (61, 291)
_RMS_RANGE = (0.5, 2.0)
"""Smallest and largest spread of a person's appearance, relative to the average speaker's."""


@disable_autocast
def compute_patch_places(mesh: MeshGeometry, landmarks: Array, rest: Array) -> Array:
    """Compute where the patches of faces [n 468 3] with the shape `rest` [468 3] are sampled, [n y x 2] in pixels.

    The patch is fixed to the skull and turns with it, so that a turned head shows the same mouth.
    """
    surface = convert_like(_build_surface(to_numpy(mesh.template)), landmarks)
    expanded = get_namespace(landmarks).broadcast_to(rest, landmarks.shape)
    scale, rotation, centroid, rest_centroid = estimate_similarity(expanded, landmarks, mesh.upper)
    offset = rest[list(_CORNERS)].mean(0) - mesh.template[list(_CORNERS)].mean(0)
    places = (surface + offset - rest_centroid) @ rotation * scale[:, None, None] + centroid
    width, height = (PATCH_OVERSAMPLING * size for size in PATCH_PX)
    return places[..., :2].reshape(len(landmarks), height, width, 2)


def _build_surface(template: F32) -> F32:
    """Build the points [y * x 3] of a patch on the face at rest, whose depth is a quadratic fit of the mesh's."""
    middle = template[list(_CORNERS)].mean(axis=0)[:2]
    points = template - np.append(middle, 0)
    near = points[(abs(points[:, :2]) < np.array(_SPAN_PX) / 2 + 4).all(axis=1)]

    def expand(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        return np.stack([np.ones_like(x), x, y, x**2, y**2], axis=-1)

    depth = np.linalg.lstsq(expand(near[:, 0], near[:, 1]), near[:, 2], rcond=None)[0]
    axes = [
        (np.arange(count) + 0.5) * span / count - span / 2
        for count, span in zip((PATCH_OVERSAMPLING * size for size in PATCH_PX), _SPAN_PX, strict=True)
    ]
    x, y = (part.ravel() for part in np.meshgrid(axes[0], axes[1] + _BELOW_PX))
    return np.stack([x + middle[0], y + middle[1], expand(x, y) @ depth], axis=-1).astype(np.float32)


def project_patches(basis: Array, patches: Array) -> Array:
    """Compute coefficients [n j] of one person's patches [n p] by `basis` [j p], relative to their mean."""
    return (patches - patches.mean(0)) @ basis.T


def normalize_appearance(coefficients: Array) -> Array:
    """Scale a person's coefficients [n j] to the average speaker's spread, in which their mean square sum is 1."""
    spread = square(coefficients).sum(1).mean() ** 0.5
    return coefficients / spread.clip(*_RMS_RANGE)


def estimate_rest_appearance(coefficients: Array, openings: Array) -> Array:
    """Estimate the appearance [j] of the mouth at rest from frames [n j] with lip gaps [n]."""
    return coefficients[openings <= get_namespace(openings).quantile(openings, REST_QUANTILE)].mean(0)
