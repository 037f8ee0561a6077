"""Pictures for people: what was tracked, and sheets of many pictures."""

from collections.abc import Sequence

import cv2
import numpy as np

from cals.face.landmarks import (
    LEFT_BROW,
    LEFT_EYE,
    MOUTH_INNER,
    MOUTH_OUTER,
    NOSE_BRIDGE,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
)
from cals.types import U8, TrackedFace

_CLOSED = (
    (OVAL, (255, 255, 255)),
    (MOUTH_OUTER, (255, 90, 90)),
    (MOUTH_INNER, (255, 170, 60)),
    (LEFT_EYE, (90, 200, 255)),
    (RIGHT_EYE, (90, 200, 255)),
    (LEFT_BROW, (140, 140, 255)),
    (RIGHT_BROW, (140, 140, 255)),
)
_POINT, _BOX, _ABSENT = (80, 220, 120), (255, 220, 0), (255, 60, 60)
_BITS = 3
_GAP_PX = 4


def draw_track(rgb: U8, face: TrackedFace) -> U8:
    """A copy of the frame with mesh, contours, box and a label of index, track and score."""
    out = np.ascontiguousarray(rgb).copy()
    scale = max(0.4, min(rgb.shape[:2]) / 720)
    label = (
        f"{face.index} track {face.track}"
        + (" cut" if face.cut else "")
        + (f" {face.hindrance}" if face.hindrance else "")
    )
    if not face.valid or face.box is None:
        return _text(out, f"{label} no face", (6, 6), _ABSENT, scale)
    points = np.rint((face.landmarks[:, :2].astype(np.float64) - 0.5) * (1 << _BITS)).astype(np.int32)
    dot = max(1, round(face.box.width / 250))
    for x, y in points:
        cv2.circle(out, (int(x), int(y)), dot << (_BITS - 1), _POINT, -1, cv2.LINE_AA, _BITS)
    for ring, colour in _CLOSED:
        cv2.polylines(out, [points[list(ring)]], True, colour, 1, cv2.LINE_AA, _BITS)
    cv2.polylines(out, [points[list(NOSE_BRIDGE)]], False, (90, 200, 255), 1, cv2.LINE_AA, _BITS)
    cv2.rectangle(out, (face.box.x0, face.box.y0), (face.box.x1 - 1, face.box.y1 - 1), _BOX, 1)
    return _text(out, f"{label} {face.score:.2f}", (max(face.box.x0, 2), max(face.box.y0 - 4, 6)), _BOX, scale)


def contact_sheet(images: Sequence[U8], columns: int, labels: Sequence[str] | None = None) -> U8:
    """All images [h w 3] on one white sheet, row by row, each shrunk to fit the first one's size and labelled."""
    if not images or columns < 1:
        raise ValueError(f"contact sheet: expected images and columns >= 1, found {len(images)} and {columns}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"contact sheet: expected {len(images)} labels, found {len(labels)}")
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet_size = (rows * (height + _GAP_PX) + _GAP_PX, columns * (width + _GAP_PX) + _GAP_PX, 3)
    sheet = np.full(sheet_size, 255, dtype=np.uint8)
    for i, image in enumerate(images):
        cell = _fitted(image, width, height)
        if labels is not None:
            cell = _text(cell.copy(), labels[i], (3, 3), (255, 255, 255), 0.4)
        y, x = _GAP_PX + (i // columns) * (height + _GAP_PX), _GAP_PX + (i % columns) * (width + _GAP_PX)
        sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet


def _fitted(image: U8, width: int, height: int) -> U8:
    zoom = min(width / image.shape[1], height / image.shape[0])
    if zoom == 1:
        return np.ascontiguousarray(image)
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _text(image: U8, text: str, corner: tuple[int, int], colour: tuple[int, int, int], scale: float) -> U8:
    """`text` with its top left at `corner`, outlined so that it reads on any ground."""
    at = (corner[0], corner[1] + round(22 * scale))
    for shade, thickness in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, shade, thickness, cv2.LINE_AA)
    return image
