"""Search for faces in a whole picture, coarse to fine, at a bounded cost."""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.detector import DETECTION_SIZE_PX, MIN_MESH_SCORE, Detection, FaceDetector, compute_iou
from cals.face.landmarks import compute_eye_centres
from cals.face.mesh_fit import MeshFit, fit_mesh, region_of_detection, region_of_landmarks
from cals.face.sampling import build_similarity, sample
from cals.types import Picture, invert_affine

Region = tuple[float, float, float]
"""A square to search: centre x, centre y, side, in frame pixels; it may reach outside the frame."""

_TILE_OVERLAP = 0.22
"""Share of a tile that overlaps its neighbour; a face larger than that is found one level coarser."""
_LEVELS = (2, 4)
"""Tiles per long side and level, before overlap. 40-pixel faces are found up to 1920 pixels of width:
the detector needs some 20 of its 256 pixels, 20 / 256 * (1920 / 4) = 37.5."""
_MIN_TILE_PX = 240.0
"""Smaller tiles would only enlarge the picture without more detail."""
QUARTER_TURNS = (2, 1, 3)
"""Quarter turns of the picture for faces that are not upright: upside down first, then on their sides."""
_SURE_SCORE = 0.85
"""Faces upside down are detected as upright ones at scores up to 0.8; in the right orientation they have 0.86."""
_DUPLICATE_IOU = 0.3
_NOSE_POINT = 1
"""The mesh point at the detector's tip of the nose."""
_MAX_FITS = 8
_MAX_DISAGREEMENT = 0.13
"""Largest distance, in face sizes, between detector and mesh at an eye, the nose or the mouth. In 280 frames of 25
people it is 0.085 at most, for a cat 0.4, for a profile that the mesh fits as a frontal face 0.2 to 0.4."""


def detect_in(detector: FaceDetector, picture: Picture, region: Region, quarters: int = 0) -> list[Detection]:
    """Detect faces inside a square region, in frame pixels; the outside of the frame is black.

    The detector finds faces up to some 60 degrees off upright: the region is rotated by `quarters` of a turn first.
    """
    x, y, side = region
    middle = DETECTION_SIZE_PX / 2
    matrix = build_similarity(DETECTION_SIZE_PX / side, quarters * np.pi / 2, (x, y), (middle, middle))
    rgb = sample(picture, matrix, DETECTION_SIZE_PX, DETECTION_SIZE_PX, border=cv2.BORDER_CONSTANT, sharp=False)
    back = invert_affine(matrix)
    return [detection.transform(back) for detection in detector.detect(rgb)]


def whole_region(picture: Picture) -> Region:
    """Return the smallest square that contains the picture."""
    return picture.width / 2, picture.height / 2, float(max(picture.width, picture.height))


def region_around(centre: NDArray[Any], size_px: float) -> Region:
    """Return the region to search for a face of `size_px` last seen at `centre`."""
    return float(centre[0]), float(centre[1]), max(3.0 * size_px, 48.0)


def build_tile_levels(picture: Picture) -> list[list[Region]]:
    """Build regions finer than the whole picture, one list a level; the first level is a zoomed-out view.

    That view, the whole picture at 60 %, is for faces that fill or exceed the frame.
    """
    x, y, side = whole_region(picture)
    levels: list[list[Region]] = [[(x, y, side / 0.6)]]
    for parts in _LEVELS:
        tile = side / parts
        if tile >= _MIN_TILE_PX:
            columns, rows = _compute_tile_centres(picture.width, tile), _compute_tile_centres(picture.height, tile)
            levels.append([(cx, cy, tile) for cy in rows for cx in columns])
    return levels


def find_faces(detector: FaceDetector, picture: Picture, *, thorough: bool = False) -> list[MeshFit]:
    """Find all faces of the coarsest level with a valid mesh, largest first; those of all levels if `thorough`.

    If none is upright, faces upside down or on their sides are searched. At most 27 runs of the detector, at any size.
    """
    detections: list[Detection] = []
    fits: list[MeshFit] = []
    for level in [[whole_region(picture)], *build_tile_levels(picture)]:
        new = [face for region in level for face in detect_in(detector, picture, region)]
        detections = drop_duplicates(detections + new)
        # detections without a valid mesh must not stop the search at this level
        fits = fit_faces(detector, picture, detections) if new else fits
        if fits and not thorough:
            break
    for quarters in QUARTER_TURNS:
        if fits:
            break
        fits = fit_faces(detector, picture, detect_in(detector, picture, whole_region(picture), quarters))
    return fits


def fit_faces(detector: FaceDetector, picture: Picture, detections: Iterable[Detection]) -> list[MeshFit]:
    """Fit the meshes of detected faces; returns the valid ones, each face once, at most `_MAX_FITS`."""
    fits: list[MeshFit] = []
    for face in detections:
        face = _check_upside_down(detector, picture, face)
        fit = fit_mesh(detector, picture, region_of_detection(face))
        if fit.score >= MIN_MESH_SCORE:
            # the region of a detection is coarser than that of a mesh
            fit = fit_mesh(detector, picture, region_of_landmarks(fit.landmarks))
        duplicates = [np.hypot(*(fit.centre - other.centre)) < 0.5 * other.size_px for other in fits]
        if fit.score >= MIN_MESH_SCORE and is_consistent(face, fit) and not any(duplicates):
            fits.append(fit)
        if len(fits) == _MAX_FITS:
            break
    return fits


def _check_upside_down(detector: FaceDetector, picture: Picture, detection: Detection) -> Detection:
    """Return `detection`, or the one found there upside down if that has a sure score."""
    if detection.score >= _SURE_SCORE:
        return detection
    flipped = detect_in(detector, picture, region_around(np.array(detection.centre), detection.size_px), quarters=2)
    return flipped[0] if flipped and flipped[0].score >= _SURE_SCORE else detection


def is_consistent(detection: Detection, fit: MeshFit) -> bool:
    """Return whether the two networks, detector and mesh, agree on the positions of eyes, nose and mouth."""
    points = fit.landmarks[:, :2].astype(np.float64)
    mesh_points = np.stack([*compute_eye_centres(points), points[_NOSE_POINT], (points[13] + points[14]) / 2])
    return float(np.hypot(*(detection.keypoints[:4] - mesh_points).T).max()) <= _MAX_DISAGREEMENT * fit.size_px


def drop_duplicates(detections: Iterable[Detection]) -> list[Detection]:
    """Drop duplicate detections, keeping the better scored; returns the largest first."""
    result: list[Detection] = []
    for face in sorted(detections, key=lambda face: -face.score):
        boxes = np.array([other.box for other in result]).reshape(-1, 4)
        if not (compute_iou(np.array(face.box), boxes) > _DUPLICATE_IOU).any():
            result.append(face)
    return sorted(result, key=lambda face: -face.size_px)


class TileCycle:
    """Cycle over the finer regions, a few at a time, for a face that is absent for long."""

    def __init__(self) -> None:
        self._size = (0, 0)
        self._regions: Iterator[Region] = iter(())

    def take(self, picture: Picture, count: int) -> list[Region]:
        """Return the next `count` regions of the cycle."""
        if self._size != (picture.width, picture.height):
            self._size, self._regions = (picture.width, picture.height), iter(())
        regions: list[Region] = []
        while len(regions) < count:
            region = next(self._regions, None)
            if region is None:
                self._regions = iter([region for level in build_tile_levels(picture) for region in level])
                continue
            regions.append(region)
        return regions


def _compute_tile_centres(length_px: int, tile: float) -> list[float]:
    """Compute the centres of the overlapping tiles that cover one side of the picture."""
    if length_px <= tile:
        return [length_px / 2]
    count = int(np.ceil((length_px - tile) / (tile * (1 - _TILE_OVERLAP)))) + 1
    return [float(c) for c in np.linspace(tile / 2, length_px - tile / 2, count)]
