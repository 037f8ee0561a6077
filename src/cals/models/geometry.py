"""Geometry of the lower face over a mesh model, for arrays of either kind: shape, head pose and motion of speech."""

from typing import Protocol

import numpy as np

from cals.arrays import Array, convert_like, disable_autocast, get_namespace, square
from cals.face.landmarks import N_POINTS, OVAL

REST_QUANTILE = 0.2
"""Share of a clip's frames, those with the smallest mouth opening, whose mean is the face at rest."""
MIN_REST_FRAMES = 25
"""Number of frames that are sure to include a mouth at rest: a second of speech does."""
STILL_Y = 56.0
"""Row in a crop of 128 px, between eyes and lips, above which points stay."""
_RING_SCALE = 1.45
"""Scale of the face's outline that gives the fixed ring around it."""


class MeshGeometry:
    """A linear model of lower-face motion, fitted to a corpus.

    `template` [468 3] is the mean face at rest in crop pixels. `basis` [k 468 3] holds the motion components, scaled so
    that each coefficient has standard deviation 1 in speech. `identity` [k] is the standard deviation of the
    coefficients over the resting faces of different people. `triangles` [n 3] join the 468 points and the ring around
    them; the inner mouth is left open. `upper` [468] marks the points that stand still.
    """

    template: Array
    basis: Array
    identity: Array
    triangles: Array
    upper: Array

    @disable_autocast
    def estimate_rest(self, landmarks: Array) -> Array:
        """Estimate a person's face at rest [468 3], in the template's pose, from their frames [n 468 3].

        With many frames it is the mean of those with the smallest mouth opening. A few frames may show any expression.
        The fewer they are, the more of the difference from the template is removed that is likelier motion than shape
        (a Wiener estimate).
        """
        shapes = self.align_to_rest(landmarks, self.template)
        opening = measure_lip_gap(shapes)
        closed = shapes[opening <= get_namespace(opening).quantile(opening, REST_QUANTILE)].mean(0)
        uncertainty = 1 - (len(landmarks) - 1) / MIN_REST_FRAMES
        if uncertainty <= 0:
            return closed
        motion = self._coefficients(closed - self.template) / (1 + square(self.identity))
        # Lips at rest are closed: the remaining gap is removed by the smallest motion that closes it.
        gaps = measure_lip_gap(self.basis)
        remaining = measure_lip_gap(closed) - motion @ gaps - measure_lip_gap(self.template)
        motion = motion + gaps * remaining.clip(0) / square(gaps).sum()
        return closed - uncertainty * get_namespace(motion).einsum("k,kpc->pc", motion, self.basis)

    @disable_autocast
    def compute_motion(self, landmarks: Array, rest: Array) -> Array:
        """Compute coefficients [b k] of faces [b 468 3] relative to rest [b 468 3] or [468 3]; the pose is removed."""
        return self._coefficients(self.align_to_rest(landmarks, rest) - rest)

    @disable_autocast
    def add_motion(self, landmarks: Array, rest: Array, change: Array) -> Array:
        """Return faces [b 468 3], in their own pose, with `change` [b k] added to their motion."""
        scale, rotation, _, _ = estimate_similarity(_expand(rest, landmarks), landmarks, self.upper)
        motion = get_namespace(change).einsum("bk,kpc->bpc", change, self.basis)
        return landmarks + scale[:, None, None] * (motion @ rotation)

    def build_vertices(self, landmarks: Array, still: Array) -> Array:
        """Build warp vertices [b 504 2] of faces [b 468 3]: their points and a ring around `still` [b 468 3]."""
        oval = still[:, list(OVAL), :2]
        centre = oval.mean(1)[:, None]
        ring = centre + _RING_SCALE * (oval - centre)
        return get_namespace(ring).concatenate([landmarks[..., :2], ring], 1)

    @property
    def lower_triangles(self) -> Array:
        """Triangles [n 3] that reach into the lower face, the part that speech moves."""
        ring = convert_like(np.ones(len(OVAL), dtype=bool), self.upper)
        below = get_namespace(ring).concatenate([self.template[:, 1] > STILL_Y, ring])
        corners = below[self.triangles]
        return self.triangles[corners.any(1) & (self.triangles < N_POINTS).any(1)]

    def align_to_rest(self, landmarks: Array, rest: Array) -> Array:
        """Align faces [b 468 3] to the pose and size of `rest` [468 3]."""
        scale, rotation, centroid, rest_centroid = estimate_similarity(_expand(rest, landmarks), landmarks, self.upper)
        return (landmarks - centroid) @ rotation.swapaxes(-1, -2) / scale[:, None, None] + rest_centroid

    def _coefficients(self, displacement: Array) -> Array:
        flat = self.basis.reshape(len(self.basis), -1)
        norms = square(flat).sum(1)  # the components are orthogonal
        return displacement.reshape(*displacement.shape[:-2], -1) @ flat.T / norms


def _expand(rest: Array, landmarks: Array) -> Array:
    return get_namespace(rest).broadcast_to(rest, landmarks.shape)


def measure_lip_gap(landmarks: Array) -> Array:
    """Compute the mean vertical gap between the inner lips, [... 468 2+] -> [...] in pixels."""
    return (landmarks[..., [178, 14, 402], 1] - landmarks[..., [81, 13, 311], 1]).mean(-1)


def estimate_similarity(source: Array, target: Array, points: Array) -> tuple[Array, Array, Array, Array]:
    """Fit a similarity by least squares: scale [b], rotation [b 3 3], centroids [b 1 3] of target and source.

    Rotations apply to rows: source @ rotation ~ target.
    """
    a, b = source[:, points], target[:, points]
    a_centroid, b_centroid = a.mean(1)[:, None], b.mean(1)[:, None]
    a, b = a - a_centroid, b - b_centroid
    xp = get_namespace(a)
    u, singular, vh = xp.linalg.svd(a.swapaxes(1, 2) @ b)
    sign = xp.ones_like(singular)
    sign[:, -1] = xp.linalg.det(u @ vh)  # a rotation, never a reflection
    rotation = (u * sign[:, None]) @ vh
    scale = (singular * sign).sum(1) / square(a).sum((1, 2))
    return scale, rotation, b_centroid, a_centroid


class MotionDecoder(Protocol):
    """The mouth of an average speaker, and the mesh that it moves."""

    opening_px: Array
    """[] Standard deviation of that speaker's mouth opening in a crop of 128 px."""
    appearance_basis: Array
    """[j p] Projects patches of a mouth to its appearance."""

    @property
    def mesh(self) -> MeshGeometry:
        """The mesh."""

    def predict_motion(self, units: Array) -> Array:
        """Predict coefficients [... k] of the average speaker's lower face from units [... d]."""

    def predict(self, units: Array) -> tuple[Array, Array]:
        """Predict that motion, and the appearance [... j] of the average speaker's mouth."""
