"""Visualisation of tracked faces, and contact sheets."""

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

_CONTOURS = (
    (OVAL, (255, 255, 255)),
    (MOUTH_OUTER, (255, 90, 90)),
    (MOUTH_INNER, (255, 170, 60)),
    (LEFT_EYE, (90, 200, 255)),
    (RIGHT_EYE, (90, 200, 255)),
    (LEFT_BROW, (140, 140, 255)),
    (RIGHT_BROW, (140, 140, 255)),
)
_POINT_COLOUR, _BOX_COLOUR, _ABSENT_COLOUR = (80, 220, 120), (255, 220, 0), (255, 60, 60)
_SUBPIXEL_BITS = 3
_GAP_PX = 4


def draw_track(rgb: U8, face: TrackedFace) -> U8:
    """Draw mesh, contours, box and a label of index, track and score on a copy of the frame."""
    out = np.ascontiguousarray(rgb).copy()
    scale = max(0.4, min(rgb.shape[:2]) / 720)
    label = (
        f"{face.index} track {face.track}"
        + (" cut" if face.cut else "")
        + (f" {face.skip_reason}" if face.skip_reason else "")
    )
    if not face.valid or face.box is None:
        return draw_text(out, f"{label} no face", (6, 6), _ABSENT_COLOUR, scale)
    points = np.rint((face.landmarks[:, :2].astype(np.float64) - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    radius = max(1, round(face.box.width / 250))
    for x, y in points:
        cv2.circle(
            out, (int(x), int(y)), radius << (_SUBPIXEL_BITS - 1), _POINT_COLOUR, -1, cv2.LINE_AA, _SUBPIXEL_BITS
        )
    for ring, colour in _CONTOURS:
        cv2.polylines(out, [points[list(ring)]], True, colour, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.polylines(out, [points[list(NOSE_BRIDGE)]], False, (90, 200, 255), 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.rectangle(out, (face.box.x0, face.box.y0), (face.box.x1 - 1, face.box.y1 - 1), _BOX_COLOUR, 1)
    return draw_text(
        out, f"{label} {face.score:.2f}", (max(face.box.x0, 2), max(face.box.y0 - 4, 6)), _BOX_COLOUR, scale
    )


def render_contact_sheet(images: Sequence[U8], columns: int, labels: Sequence[str] | None = None) -> U8:
    """Lay out images [h w 3] row by row on a white sheet, shrunk to the first one's size and labelled."""
    if not images or columns < 1:
        raise ValueError(f"contact sheet: expected images and columns >= 1, found {len(images)} and {columns}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"contact sheet: expected {len(images)} labels, found {len(labels)}")
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet_size = (rows * (height + _GAP_PX) + _GAP_PX, columns * (width + _GAP_PX) + _GAP_PX, 3)
    sheet = np.full(sheet_size, 255, dtype=np.uint8)
    for i, image in enumerate(images):
        cell = _shrink_to_fit(image, width, height)
        if labels is not None:
            cell = draw_text(cell.copy(), labels[i], (3, 3), (255, 255, 255), 0.4)
        y, x = _GAP_PX + (i // columns) * (height + _GAP_PX), _GAP_PX + (i % columns) * (width + _GAP_PX)
        sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet


def encode_png(picture: U8) -> bytes:
    """Encode RGB [h w 3] as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def _shrink_to_fit(image: U8, width: int, height: int) -> U8:
    zoom = min(width / image.shape[1], height / image.shape[0])
    if zoom == 1:
        return np.ascontiguousarray(image)
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def draw_text(image: U8, text: str, corner: tuple[int, int], colour: tuple[int, int, int], scale: float) -> U8:
    """Draw `text` with its top left at `corner`, outlined to be legible on any background."""
    origin = (corner[0], corner[1] + round(22 * scale))
    line_px = max(1, round(1.6 * scale))
    for shade, thickness in (((0, 0, 0), line_px + 2), (colour, line_px)):
        cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, shade, thickness, cv2.LINE_AA)
    return image
