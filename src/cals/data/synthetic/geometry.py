"""Mouth tracks to the 468 points of a face: the mesh of a trained model, moved by opening, width and protrusion.

Opening and width are realised by the likeliest motion of real lower faces that has them. Real landmarks hold no
protrusion of their own (their depth is the mesh network's guess), so that is a field of our own: lips forward, and
fuller.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals import hub
from cals.checkpoint import load_checkpoint
from cals.data.synthetic.grammar import F64, I64
from cals.face.landmarks import LEFT_EYE, MOUTH_INNER, MOUTH_OUTER, OVAL, RIGHT_EYE
from cals.nn.warp import triangulate

OPEN_PX, WIDE_PX, FORWARD_PX = 14.0, 6.0, 6.0
"""Motion for a track of 1, in a crop of 128 px, before the person's own proportions."""
_FULLER_PX = 1.3
_NEAR_PX = 13.0
"""Protrusion fades with this distance from the middle of the lips."""
_EYES_Y, _JAW_Y = 34.0, 106.0
_LIDS = tuple((ring[i], ring[16 - i]) for ring in (LEFT_EYE, RIGHT_EYE) for i in range(1, 8))
"""Points of the upper lid, and those of the lower one below them."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A person's proportions; 0 is the average person, 1 far from it."""

    wide: float = 0.0
    long: float = 0.0
    jaw: float = 0.0
    lips: float = 0.0
    nose: float = 0.0
    eyes: float = 0.0
    mouth: float = 1.0
    """Factor of the mouth's motion."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """The mesh as arrays, and the motions that open and widen the mouth."""

    template: F64 = field(repr=False)
    """[468 3] in pixels of a crop of 128, lips closed."""
    triangles: I64 = field(repr=False)
    """[n 3] of the face itself, the farthest first; there are none between the lips."""
    opening: F64 = field(repr=False)
    """[468 3] per pixel of gap, at constant width."""
    widening: F64 = field(repr=False)
    """[468 3] per pixel of width, at constant gap."""
    forward: F64 = field(repr=False)
    """[468 3] for a protrusion of 1, at constant gap and width."""

    def build_faces(self, shape: Shape, mouth: F64, lids: F64) -> F64:
        """Return upright faces [t 468 3] for mouth tracks [t 3] and `lids` [t], 0 open to 1 shut."""
        tracks = mouth * shape.mouth
        opening = OPEN_PX * tracks[:, 0, None, None] * self.opening
        widening = WIDE_PX * tracks[:, 1, None, None] * self.widening
        points = self.template + opening + widening + tracks[:, 2, None, None] * self.forward
        upper, lower = (list(side) for side in zip(*_LIDS, strict=True))
        points[:, upper] += lids[:, None, None] * (points[:, lower] - points[:, upper])
        return self._apply_shape(points, shape)

    def _apply_shape(self, points: F64, shape: Shape) -> F64:
        """Apply the person's proportions to every face; smooth, and about the middle between the eyes."""
        middle = self.template[[33, 263], :2].mean(axis=0)
        away = points - [*middle, 0.0]
        down = np.clip((points[..., 1] - _EYES_Y) / (_JAW_Y - _EYES_Y), -0.5, 1.3)
        narrow = np.clip(down, 0, None)
        lips = list(dict.fromkeys((*MOUTH_OUTER, *MOUTH_INNER)))
        out = points.copy()
        out[..., 0] = middle[0] + away[..., 0] * (1 + 0.05 * shape.wide + 0.09 * shape.jaw * (narrow - 0.4))
        out[..., 1] = middle[1] + away[..., 1] * (1 + 0.05 * shape.long)
        out[..., 2] = away[..., 2] * (1 + 0.05 * shape.wide)
        nose = np.exp(-(((self.template[:, 0] - 64) / 9) ** 2) - ((self.template[:, 1] - 60) / 7) ** 2)
        out[..., 0] += 0.12 * shape.nose * nose * away[..., 0]
        out[..., 2] -= 2.0 * shape.nose * nose
        height = points[:, lips, 1] - points[:, [13, 14], 1].mean(axis=1)[:, None]
        outer = np.isin(lips, MOUTH_OUTER) * (1 - ((np.array(self.template[lips, 0]) - 64) / 19) ** 2).clip(0)
        out[:, lips, 1] += 0.3 * shape.lips * np.sign(height) * 2.5 * outer
        for ring in (LEFT_EYE, RIGHT_EYE):
            centre = out[:, list(ring)].mean(axis=1, keepdims=True)
            out[:, list(ring), 1] += 0.15 * shape.eyes * (out[:, list(ring), 1] - centre[..., 1])
        return out


def _measure_gap(points: F64) -> NDArray[Any]:
    return np.asarray((points[..., [178, 14, 402], 1] - points[..., [81, 13, 311], 1]).mean(axis=-1))


def _measure_width(points: F64) -> NDArray[Any]:
    return np.asarray(points[..., 291, 0] - points[..., 61, 0])


@lru_cache(maxsize=1)
def load_geometry() -> Geometry:
    """Load the mesh of the model that ships with the package."""
    weights = load_checkpoint(hub.BUILTIN_WEIGHTS / "grid-small").weights
    template = weights["decoder.mesh.template"].double().numpy()
    basis = weights["decoder.mesh.basis"].double().numpy()
    # A coefficient of 1 is as likely in one motion as in another, so the likeliest are the smallest.
    measures = np.stack([_measure_gap(basis), _measure_width(basis)])
    directions = measures.T @ np.linalg.inv(measures @ measures.T)
    opening, widening = (np.einsum("k,kpc->pc", column, basis) for column in directions.T)
    middle = template[[13, 14]].mean(axis=0)
    near = np.exp(-(((template[:, :2] - middle[:2]) / _NEAR_PX) ** 2).sum(axis=1))
    forward = np.zeros_like(template)
    forward[:, 2] = -FORWARD_PX * near
    outer = list(MOUTH_OUTER)
    forward[outer, 1] = _FULLER_PX * np.sign(template[outer, 1] - middle[1]) * near[outer]
    closed = template - _measure_gap(template) * opening
    forward = forward - _measure_gap(forward) * opening - _measure_width(forward) * widening
    return Geometry(closed, _triangulate_face(closed, closed + OPEN_PX * opening), opening, widening, forward)


def _triangulate_face(closed_points: F64, open_points: F64) -> I64:
    """Return the triangles of the face with its mouth open: none between the lips or outside, the farthest first."""
    triangles = triangulate(open_points[:, :2])
    outline = open_points[list(OVAL), :2].astype(np.float32)
    middles = open_points[triangles, :2].mean(axis=1).astype(np.float32).tolist()
    of_face = np.array([cv2.pointPolygonTest(outline, middle, measureDist=False) > 0 for middle in middles])
    triangles = triangles[of_face & ~np.isin(triangles, MOUTH_INNER).all(axis=1)]
    return np.asarray(triangles[np.argsort(-closed_points[triangles, 2].mean(axis=1), kind="stable")])


@dataclass(frozen=True, eq=False)
class HeadTrack:
    """Head motion in front of the camera, by frame."""

    turn: F64 = field(repr=False)
    """[t 3] angles about x (pitch), y (yaw), z (roll) in radians."""
    zoom: F64 = field(repr=False)
    """[t] frame pixels per crop pixel."""
    place: F64 = field(repr=False)
    """[t 2] of the middle between the eyes in the frame."""
    lids: F64 = field(repr=False)
    """[t] 0 open to 1 shut."""


_PIVOT_PX = 45.0
"""Distance behind the eyes of the point about which the head turns."""


def apply_head_motion(faces: F64, motion: HeadTrack) -> F64:
    """Transform upright faces [t 468 3] by a head motion, to frame pixels."""
    centre = np.array([64.0, 34.0, 0.0])
    pivot = np.array([0.0, 20.0, _PIVOT_PX])
    cos, sin = np.cos(motion.turn), np.sin(motion.turn)
    zero, one = np.zeros(len(cos)), np.ones(len(cos))
    pitch = np.stack([one, zero, zero, zero, cos[:, 0], -sin[:, 0], zero, sin[:, 0], cos[:, 0]], axis=1)
    yaw = np.stack([cos[:, 1], zero, sin[:, 1], zero, one, zero, -sin[:, 1], zero, cos[:, 1]], axis=1)
    roll = np.stack([cos[:, 2], -sin[:, 2], zero, sin[:, 2], cos[:, 2], zero, zero, zero, one], axis=1)
    rotations = roll.reshape(-1, 3, 3) @ yaw.reshape(-1, 3, 3) @ pitch.reshape(-1, 3, 3)
    rotated = (faces - centre - pivot) @ rotations.transpose(0, 2, 1) + pivot
    out = rotated * motion.zoom[:, None, None]
    out[..., :2] += motion.place[:, None]
    return np.asarray(out)
