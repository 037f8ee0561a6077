"""Looking for faces in a whole picture, coarse to fine, at a bounded cost."""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.detector import DETECTION_SIZE_PX, MIN_MESH_SCORE, Detection, FaceDetector, overlap
from cals.face.landmarks import eye_centres
from cals.face.mesh_fit import MeshFit, fit_mesh, region_of_detection, region_of_landmarks
from cals.face.sampling import sample, similarity
from cals.types import Picture, affine_inverse

Region = tuple[float, float, float]
"""Square to look into: centre x, centre y, side, in frame pixels; it may reach outside the frame."""

_TILE_OVERLAP = 0.22
"""Share of a tile that its neighbour sees too; a face larger than that is found one level coarser."""
_LEVELS = (2, 4)
"""Tiles per long side and level, before overlap. 40-pixel faces are found up to 1920 pixels of width:
the detector needs some 20 of its 256 pixels, 20 / 256 * (1920 / 4) = 37.5."""
_MIN_TILE_PX = 240.0
"""Smaller tiles would only enlarge what the picture does not hold."""
QUARTERS = (2, 1, 3)
"""Turns of the picture by which faces are looked for that do not stand upright: on their heads, then on their sides."""
_SURE = 0.85
"""Faces on their heads are found as upright ones, chin for forehead, at scores up to 0.8; rightly they have 0.86."""
_SAME_FACE = 0.3
_NOSE = 1
"""The point of the mesh that the detector calls the tip of the nose."""
_MAX_FITS = 8
_AGREED = 0.13
"""Farthest apart, in sizes of the face, that detector and mesh see an eye, the nose or the mouth. In 280 frames of 25
people it is 0.085 at most, in a cat 0.4, in a profile that the mesh takes for a face from the front 0.2 to 0.4."""


def detect_in(detector: FaceDetector, picture: Picture, region: Region, quarters: int = 0) -> list[Detection]:
    """Faces inside a square region, in frame pixels; black is assumed outside the frame.

    The detector knows faces up to some 60 degrees off upright: `quarters` of a turn are made before it looks.
    """
    x, y, side = region
    middle = DETECTION_SIZE_PX / 2
    matrix = similarity(DETECTION_SIZE_PX / side, quarters * np.pi / 2, (x, y), (middle, middle))
    rgb = sample(picture, matrix, DETECTION_SIZE_PX, DETECTION_SIZE_PX, border=cv2.BORDER_CONSTANT, sharp=False)
    back = affine_inverse(matrix)
    return [found.mapped(back) for found in detector.detect(rgb)]


def whole(picture: Picture) -> Region:
    """The smallest square that holds the picture."""
    return picture.width / 2, picture.height / 2, float(max(picture.width, picture.height))


def around(centre: NDArray[Any], size_px: float) -> Region:
    """Where a face of `size_px` last seen at `centre` would be looked for."""
    return float(centre[0]), float(centre[1]), max(3.0 * size_px, 48.0)


def tile_levels(picture: Picture) -> list[list[Region]]:
    """Regions finer than the whole picture, one list a level; the first holds the view from afar.

    That view, the whole picture at 60 %, is for faces that fill or overfill the frame.
    """
    x, y, side = whole(picture)
    levels: list[list[Region]] = [[(x, y, side / 0.6)]]
    for parts in _LEVELS:
        tile = side / parts
        if tile >= _MIN_TILE_PX:
            columns, rows = _centres(picture.width, tile), _centres(picture.height, tile)
            levels.append([(cx, cy, tile) for cy in rows for cx in columns])
    return levels


def find_faces(detector: FaceDetector, picture: Picture, *, thorough: bool = False) -> list[MeshFit]:
    """All faces of the coarsest level where a mesh holds on any, largest first; of all levels if `thorough`.

    Where none is upright, those on their heads and sides. At most 27 runs of the detector, whatever the picture's size.
    """
    found: list[Detection] = []
    fits: list[MeshFit] = []
    for level in [[whole(picture)], *tile_levels(picture)]:
        fresh = [face for region in level for face in detect_in(detector, picture, region)]
        found = unique(found + fresh)
        # what is no face for the mesh must not keep us from looking closer
        fits = fit_faces(detector, picture, found) if fresh else fits
        if fits and not thorough:
            break
    for quarters in QUARTERS:
        if fits:
            break
        fits = fit_faces(detector, picture, detect_in(detector, picture, whole(picture), quarters))
    return fits


def fit_faces(detector: FaceDetector, picture: Picture, found: Iterable[Detection]) -> list[MeshFit]:
    """Meshes of the faces found that hold, each face once, at most `_MAX_FITS`."""
    fits: list[MeshFit] = []
    for face in found:
        face = _righted(detector, picture, face)
        fit = fit_mesh(detector, picture, region_of_detection(face))
        if fit.score >= MIN_MESH_SCORE:
            # the region of a detection is coarser than that of a mesh
            fit = fit_mesh(detector, picture, region_of_landmarks(fit.landmarks))
        known = [np.hypot(*(fit.centre - other.centre)) < 0.5 * other.size_px for other in fits]
        if fit.score >= MIN_MESH_SCORE and agrees(face, fit) and not any(known):
            fits.append(fit)
        if len(fits) == _MAX_FITS:
            break
    return fits


def _righted(detector: FaceDetector, picture: Picture, found: Detection) -> Detection:
    """`found`, or what is seen there with the picture on its head, if that is more of a face."""
    if found.score >= _SURE:
        return found
    near = detect_in(detector, picture, around(np.array(found.centre), found.size_px), quarters=2)
    return near[0] if near and near[0].score >= _SURE else found


def agrees(found: Detection, fit: MeshFit) -> bool:
    """Whether detector and mesh, two networks, see eyes, nose and mouth in the same places."""
    points = fit.landmarks[:, :2].astype(np.float64)
    places = np.stack([*eye_centres(points), points[_NOSE], (points[13] + points[14]) / 2])
    return float(np.hypot(*(found.keypoints[:4] - places).T).max()) <= _AGREED * fit.size_px


def unique(found: Iterable[Detection]) -> list[Detection]:
    """Drop faces seen twice, keeping the better scored, largest first."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda face: -face.score):
        boxes = np.array([other.box for other in kept]).reshape(-1, 4)
        if not (overlap(np.array(face.box), boxes) > _SAME_FACE).any():
            kept.append(face)
    return sorted(kept, key=lambda face: -face.size_px)


class TileRound:
    """Hands out the finer regions a few at a time, over and over, for a face that is absent for long."""

    def __init__(self) -> None:
        self._size = (0, 0)
        self._regions: Iterator[Region] = iter(())

    def take(self, picture: Picture, count: int) -> list[Region]:
        """The next `count` regions of the round."""
        if self._size != (picture.width, picture.height):
            self._size, self._regions = (picture.width, picture.height), iter(())
        taken: list[Region] = []
        while len(taken) < count:
            region = next(self._regions, None)
            if region is None:
                self._regions = iter([region for level in tile_levels(picture) for region in level])
                continue
            taken.append(region)
        return taken


def _centres(length_px: int, tile: float) -> list[float]:
    """Centres of the overlapping tiles that cover one side of the picture."""
    if length_px <= tile:
        return [length_px / 2]
    count = int(np.ceil((length_px - tile) / (tile * (1 - _TILE_OVERLAP)))) + 1
    return [float(c) for c in np.linspace(tile / 2, length_px - tile / 2, count)]
