"""Fitting of the mesh to one face: the square, rotated input region of the mesh model, and back to the frame."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.face.detector import MESH_SIZE_PX, Detection, FaceDetector
from cals.face.landmarks import compute_eye_centres, measure_inter_ocular_px
from cals.face.sampling import build_similarity, sample, warp
from cals.types import F32, U8, Box, Picture, apply_affine, invert_affine

_MIDDLE = (MESH_SIZE_PX / 2, MESH_SIZE_PX / 2)
_REGION_SCALE = 1.5
"""Region side over face size; FaceMesh was trained with a margin of a quarter of the face size on each side."""
_REFIT_SHIFT = 0.08
"""If the mesh is off the middle of its region by more than this share of the side, it is fitted once more there."""
_THUMB_PX = 24
MIN_SAME_FACE_SIMILARITY = 0.9
"""Correlation of two `MeshFit.thumbnail` of one face in neighbouring frames: on GRID never below 0.93, while that of
two speakers in the same place is at most 0.89 (median 0.52)."""
_MIN_REGION_PX = 8.0
_DEAD_ZONE_PX, _SMOOTHING_RANGE_PX = 0.3, 1.5
"""A region whose corners would move less than the first, in pixels of the mesh input, stays; one that would move less
than the second moves half way."""


@dataclass(frozen=True, eq=False)
class MeshFit:
    """A fitted mesh."""

    landmarks: F32 = field(repr=False)
    """[468 3] in frame pixels, centres at .5."""
    score: float
    thumbnail: F32 = field(repr=False)
    """[576] brightness of eyes, brows and nose, aligned by the eyes, zero mean and unit length."""
    region: NDArray[np.float64] = field(repr=False)
    """[2 3], frame -> mesh input, of the region that the mesh was run on."""

    @property
    def box(self) -> Box:
        """Tight box of the points."""
        low, high = self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)
        return Box(*(int(v) for v in np.floor(low)), *(int(v) for v in np.ceil(high)))

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle of the points' extent."""
        points = self.landmarks[:, :2].astype(np.float64)
        return np.asarray((points.min(axis=0) + points.max(axis=0)) / 2)

    @property
    def size_px(self) -> float:
        """Longer side of the box, at least 1."""
        return float(max(*np.ptp(self.landmarks[:, :2], axis=0), 1.0))

    @property
    def eye_distance_px(self) -> float:
        """Inter-ocular distance."""
        return measure_inter_ocular_px(self.landmarks)


def region_of_detection(detection: Detection) -> NDArray[np.float64]:
    """Compute the frame -> mesh input matrix for a detected face, upright by its eyes."""
    left, right = detection.keypoints[0], detection.keypoints[1]
    return _build_region(np.asarray(detection.centre), detection.size_px, _compute_tilt(left, right))


def region_of_box(box: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the frame -> mesh input matrix for a face with a known box [4] only, assumed upright."""
    return _build_region((box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max()), 0.0)


def region_of_landmarks(landmarks: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the frame -> mesh input matrix around a known mesh [468 2+], upright by its outer eye corners."""
    points = landmarks[:, :2].astype(np.float64)
    tilt = _compute_tilt(points[33], points[263])
    upright = build_similarity(1.0, -tilt, (0.0, 0.0), (0.0, 0.0))
    rotated = apply_affine(upright, points)
    low, high = rotated.min(axis=0), rotated.max(axis=0)
    centre = apply_affine(invert_affine(upright), ((low + high) / 2)[None])[0]
    return _build_region(centre, float((high - low).max()), tilt)


def shift_region(region: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift a region (frame -> mesh input) by frame pixels [2]."""
    moved = region.copy()
    moved[:, 2] -= region[:, :2] @ by
    return moved


def smooth_region(previous: NDArray[np.float64], measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the step from the region `previous` to the one `measured` by the mesh; both frame -> mesh input.

    The mesh depends slightly on its region, and the region on the previous mesh. Without smoothing they oscillate
    between two solutions for the same picture.
    """
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64) * MESH_SIZE_PX
    to_frame = invert_affine(previous)
    corners_to = apply_affine(invert_affine(measured), corners)
    moved_px = float(np.abs(apply_affine(previous, corners_to) - corners).max())
    if moved_px < _DEAD_ZONE_PX:
        return previous
    if moved_px > _SMOOTHING_RANGE_PX:
        return measured
    midway = (apply_affine(to_frame, corners[:3]) + corners_to[:3]) / 2
    side, middle = (midway[1] - midway[0]), (midway[0] + midway[2]) / 2
    scale = MESH_SIZE_PX / max(float(np.hypot(*side)), 1e-6)
    return build_similarity(scale, -float(np.arctan2(side[1], side[0])), (middle[0], middle[1]), _MIDDLE)


def fit_mesh(detector: FaceDetector, picture: Picture, region: NDArray[np.float64]) -> MeshFit:
    """Run the mesh on `region` (frame -> mesh input), and once more if the face is off its middle."""
    fit, rgb = _run_mesh(detector, picture, region)
    refined = region_of_landmarks(fit.landmarks)
    middle = np.array([_MIDDLE])
    offset = apply_affine(region, apply_affine(invert_affine(refined), middle)) - middle
    if np.abs(offset).max() > _REFIT_SHIFT * MESH_SIZE_PX:
        fit, rgb = _run_mesh(detector, picture, refined)
        region = refined
    return replace(fit, thumbnail=_extract_thumbnail(rgb, apply_affine(region, fit.landmarks[:, :2])))


def _run_mesh(detector: FaceDetector, picture: Picture, region: NDArray[np.float64]) -> tuple[MeshFit, U8]:
    rgb = sample(picture, region, MESH_SIZE_PX, MESH_SIZE_PX, sharp=False)
    points, score = detector.predict_mesh(rgb)
    back = invert_affine(region)
    scale = float(np.hypot(*back[:, 0]))
    frame = np.concatenate([apply_affine(back, points[:, :2]), points[:, 2:] * scale], axis=1).astype(np.float32)
    return MeshFit(landmarks=frame, score=score, thumbnail=np.zeros(0, dtype=np.float32), region=region), rgb


def _build_region(centre: NDArray[Any], size_px: float, tilt: float) -> NDArray[np.float64]:
    side = max(size_px * _REGION_SCALE, _MIN_REGION_PX)
    return build_similarity(MESH_SIZE_PX / side, -tilt, (float(centre[0]), float(centre[1])), _MIDDLE)


def _compute_tilt(left: NDArray[Any], right: NDArray[Any]) -> float:
    return float(np.arctan2(right[1] - left[1], right[0] - left[0]))


def _extract_thumbnail(rgb: U8, points: NDArray[Any]) -> F32:
    """Extract `MeshFit.thumbnail`; `points` are in pixels of the mesh input."""
    left, right = compute_eye_centres(points)
    eyes = (left + right) / 2
    distance = max(float(np.hypot(*(right - left))), 1.0)
    matrix = build_similarity(
        0.5 * _THUMB_PX / distance,
        -_compute_tilt(left, right),
        (float(eyes[0]), float(eyes[1])),
        (_THUMB_PX * 0.5, _THUMB_PX * 0.4),
    )
    gray = warp(rgb, matrix, _THUMB_PX, _THUMB_PX, sharp=False).astype(np.float32).mean(axis=2).reshape(-1)
    gray -= gray.mean()
    return np.asarray(gray / max(float(np.linalg.norm(gray)), 1e-3), dtype=np.float32)
