"""Alignment of a face to an upright, steady crop."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.face.filters import OneEuro
from cals.face.landmarks import RIGID
from cals.face.sampling import build_similarity, sample
from cals.types import U8, CropTransform, Picture, TrackedFace, apply_affine, invert_affine

CROP_SIZE_PX = 128
EYES_PX = (64.0, 34.0)
"""Position of the middle between the eyes in a crop of 128."""
EYE_DISTANCE_PX = 40.0
"""Inter-ocular distance in a crop of 128. On all GRID speakers the chin then lies at y 100..116, mouth open included,
and the upper lip at 70 or lower, in the crop's lower half."""

RIGID_SHAPE = np.array(
    [
        [-0.724, -0.012, 0.252],
        [-0.276, 0.012, 0.169],
        [0.276, 0.012, 0.169],
        [0.724, -0.012, 0.252],
        [0.0, -0.087, -0.101],
        [0.0, 0.049, -0.167],
        [0.0, 0.172, -0.244],
        [0.0, 0.285, -0.329],
    ]
)
"""Positions of the points `RIGID`, in inter-ocular distances from the middle between the eyes (z from their own mean):
mean over the means of GRID's 14 speakers (34 clips, 2550 frames), made symmetric."""
_WEIGHTS = np.array([1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3, 0.3])
"""Points of the bridge vary more as the head turns (0.005-0.012 within a speaker)."""

_MIN_CUTOFF_HZ = 1.0
_BETA = 20.0
_SPEED_CUTOFF_HZ = 8.0
"""Tuned with benchmarks/tracking.py: a resting face jitters by 0.01 % of the inter-ocular distance (0.04 % unfiltered;
under sensor noise 0.07 % instead of 0.19 %), ordinary motion lags by at most 0.6 %; the bound is 1 / (2 pi beta)."""


def fit_similarity(
    source: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit the least-squares similarity [2 3] (rotation, scale, shift) from points [n 2] to points [n 2]."""
    total = weights.sum()
    from_mid, to_mid = weights @ source / total, weights @ target / total
    a, b = source - from_mid, target - to_mid
    norm = float(weights @ (a**2).sum(axis=1))
    cos = float(weights @ (a * b).sum(axis=1)) / max(norm, 1e-12)
    sin = float(weights @ (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])) / max(norm, 1e-12)
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([linear, (to_mid - linear @ from_mid)[:, None]], axis=1)


def estimate_pose(landmarks: NDArray[Any]) -> tuple[float, float, tuple[float, float]]:
    """Estimate the frontal inter-ocular distance in pixels, the in-plane angle and the middle between the eyes.

    The distance is computed in three dimensions, so it hardly changes as the head turns or nods: at 30 degrees it
    shrinks by 0 to 7 %, the distance of the eyes in the picture by 4 to 13 %.
    """
    points = landmarks[list(RIGID)].astype(np.float64)
    fitted = fit_similarity(RIGID_SHAPE[:, :2], points[:, :2], _WEIGHTS)
    angle = math.atan2(fitted[1, 0], fitted[0, 0])
    scale = max(_compute_radius(points) / _compute_radius(RIGID_SHAPE), 1e-6)
    mean = _WEIGHTS @ RIGID_SHAPE[:, :2] / _WEIGHTS.sum()
    x, y = (
        _WEIGHTS @ points[:, :2] / _WEIGHTS.sum()
        - apply_affine(build_similarity(scale, angle, (0, 0), (0, 0)), mean[None])[0]
    )
    return scale, angle, (float(x), float(y))


def _compute_radius(points: NDArray[np.float64]) -> float:
    """Compute the weighted root mean square distance of points [8 3] from their mean."""
    offsets = points - _WEIGHTS @ points / _WEIGHTS.sum()
    return math.sqrt(float(_WEIGHTS @ (offsets**2).sum(axis=1)) / float(_WEIGHTS.sum()))


class Aligner:
    """Crop transforms of tracked faces, smoothed over time within a track.

    The smoothed values are the eyes' middle (in inter-ocular distances), the angle and the logarithm of the scale.
    So smoothing is the same for small and large faces, and for any frame rate.
    """

    def __init__(self, size_px: int = CROP_SIZE_PX) -> None:
        self._size_px = size_px
        self._filter = OneEuro(min_cutoff_hz=_MIN_CUTOFF_HZ, beta=_BETA, speed_cutoff_hz=_SPEED_CUTOFF_HZ)
        self._track: int | None = None
        self._unit_px = 1.0
        self._angle = 0.0

    def update(self, face: TrackedFace) -> CropTransform:
        """Return the transform for a valid face; smoothing restarts with each track and after a gap."""
        if not face.valid:
            raise ValueError(f"aligner: expected a valid face, found none in frame {face.index}")
        scale, angle, (x_px, y_px) = estimate_pose(face.landmarks)
        if face.track != self._track or face.cut:
            self._filter.reset()
            self._track, self._unit_px, self._angle = face.track, scale, angle
        # unwrap the angle
        self._angle += math.remainder(angle - self._angle, 2 * math.pi)
        raw = np.array([x_px / self._unit_px, y_px / self._unit_px, self._angle, math.log(scale)])
        x, y, smooth_angle, log_scale = (float(v) for v in self._filter.update(raw, float(face.time_s)))
        return self._build_transform(x * self._unit_px, y * self._unit_px, smooth_angle, math.exp(log_scale))

    def _build_transform(self, x: float, y: float, angle: float, eye_distance_px: float) -> CropTransform:
        scale = self._size_px / CROP_SIZE_PX
        eyes = (EYES_PX[0] * scale, EYES_PX[1] * scale)
        to_frame = build_similarity(eye_distance_px / (EYE_DISTANCE_PX * scale), angle, eyes, (x, y))
        return CropTransform(matrix=invert_affine(to_frame), size_px=self._size_px)


def sample_crop(picture: Picture, transform: CropTransform) -> U8:
    """Sample the aligned face [size size 3]; the frame's edge is replicated where the crop reaches outside.

    Large faces are reduced by area first, small ones enlarged bicubically; only the region needed is converted.
    """
    return sample(picture, transform.matrix, transform.size_px, transform.size_px)
