"""Soft masks of the region in which the generated face replaces the original one."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import CHIN, LEFT_EYE, MOUTH_OUTER, OVAL, RIGHT_EYE, measure_inter_ocular_px
from cals.face.sampling import SUBPIXEL_BITS, map_pixel_centres, round_to_subpixels
from cals.types import F32, U8, CropTransform

_LIP_FEATHER = 0.15
"""Width over which the mask of the lips fades, in inter-ocular distances."""
_JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
"""From below the left ear along the jaw and the chin to below the right ear."""
_CHEEKS = (376, 425, 1, 205, 147)
"""Back from right to left over the cheeks and below the tip of the nose: plain skin, half way between the rim and
the highest point of the upper lip on GRID, so that the rim cuts neither nostrils nor lips."""
_CHIN_MARGIN = 0.16
"""Margin below the chin in inter-ocular distances: a generated mouth may open wider than the original one, and its
jaw then covers part of the neck."""
_FEATHER = 0.20
"""Width of the rim over which the mask rises from 0 to 1, in inter-ocular distances."""
_LIP_MARGIN = 0.08
"""Margin around the lips that is always covered, before feathering, in inter-ocular distances."""
_EYE_MARGIN = 0.14
"""Least distance from the eye contours, in inter-ocular distances."""
_BORDER_SHARE = 0.05
"""Border of the crop that is always 0, as a share of its size: no seam where the crop ends."""
_CHIN_LINE = (136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365)
"""The part of the jaw that moves with the mouth."""
_CHEEK_MARGIN = 0.05
"""The fade begins this far above the line of the cheeks, in inter-ocular distances."""
_TURN_INSET, _MIN_TURN_DEG, _MAX_TURN_INSET = 0.035, 2.0, 0.25
"""How much further inside the sides end for each degree that the head is turned otherwise in the source, beyond the
second; the mesh follows the outline of a turned head only roughly, and the source's background would show."""
_CHEEK_INSET, _CHIN_OUTSET, _EDGE_FEATHER = 0.03, 0.05, 0.15
"""Edge of a moved face: distance inside the outline of the cheeks, distance outside that of the chin, and width of
the fade; in inter-ocular distances."""


def build_lower_face_mask(landmarks: NDArray[Any], transform: CropTransform, width: int, height: int) -> F32:
    """Build a soft mask [size size] of the lower face with `landmarks` [468 2+] in crop pixels.

    It is 1 over mouth, chin and cheeks. It is exactly 0 beyond the jaw and its margin, over the eyes, and where the
    crop lies outside the frame of `width` x `height`.
    """
    size = transform.size_px
    points = np.asarray(landmarks[:, :2], dtype=np.float64)
    unit = measure_inter_ocular_px(points)
    down = _compute_down_axis(points)
    jaw = points[list(_JAW)]
    reach = np.clip((jaw - jaw[0]) @ down / max(float(((jaw - jaw[0]) @ down).max()), 1e-6), 0, 1)
    jaw = jaw + reach[:, None] ** 2 * (_CHIN_MARGIN * unit) * down
    feather = max(2, round(_FEATHER * unit))
    canvas = np.zeros((size, size), dtype=np.uint8)
    cheeks_to_chin = round_to_subpixels(np.concatenate([jaw, points[list(_CHEEKS)]]))
    cv2.fillPoly(canvas, [cheeks_to_chin], 255, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    # blurring spreads by half the feather, so the sharp mask is made that much smaller than the outline
    cv2.polylines(canvas, [cheeks_to_chin], True, 0, thickness=feather, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    # in a turned head the far cheek lies behind the mouth, which must be covered nevertheless
    _fill_lips(canvas, points, unit)
    return _blur(canvas, feather) * _build_limit_mask(points, unit, transform, width, height)


def build_moving_face_mask(
    landmarks: NDArray[Any],
    target: NDArray[Any],
    transform: CropTransform,
    width: int,
    height: int,
    turn_deg: float = 0.0,
) -> F32:
    """Build a soft mask [size size] for a face [468 2+] whose lower part moves to `target` [468 2+], in crop pixels.

    Unlike `build_lower_face_mask` it covers the outline of jaw and cheeks, and the chin before and after: with a jaw
    that stays, viewers and lip readers still see the old mouth. Towards the eyes both fade over the same width.
    `turn_deg` is the difference in yaw to the face that the pixels come from: the larger, the more of the sides stays.
    """
    size = transform.size_px
    points, moved = (np.asarray(part[:, :2], dtype=np.float64) for part in (landmarks, target))
    unit = measure_inter_ocular_px(points)
    inset = unit * min(_TURN_INSET * max(abs(turn_deg) - _MIN_TURN_DEG, 0.0), _MAX_TURN_INSET)
    edge, chins = np.zeros((size, size), dtype=np.uint8), np.zeros((size, size), dtype=np.uint8)
    cheeks = points[list(_CHEEKS)] - _CHEEK_MARGIN * unit * _compute_down_axis(points)
    outline = np.concatenate([_inset_sides(points, _JAW, inset), cheeks])
    cv2.fillPoly(edge, [round_to_subpixels(outline)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    for face in (points, moved):
        outline = np.concatenate([_inset_sides(face, _CHIN_LINE, inset), face[[291, 61]]])
        cv2.fillPoly(chins, [round_to_subpixels(outline)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    edge = np.maximum(
        cv2.erode(edge, _build_disc(_CHEEK_INSET * unit)), cv2.dilate(chins, _build_disc(_CHIN_OUTSET * unit))
    )
    for face in (points, moved):  # in a turned head the far side of the face is close to them
        _fill_lips(edge, face, unit)
    below = _blur(_draw_lower_half(points, cheeks, size), max(2, round(_FEATHER * unit)))
    return (
        _blur(edge, max(2, round(_EDGE_FEATHER * unit)))
        * below
        * _build_limit_mask(points, unit, transform, width, height)
    )


def _inset_sides(points: NDArray[np.float64], outline: Sequence[int], inset_px: float) -> NDArray[np.float64]:
    """Return the points of an outline, those beside the chin moved towards the middle of the face, the chin not."""
    down = _compute_down_axis(points)
    across = np.array([down[1], -down[0]])
    offset = (points[list(outline)] - points[CHIN]) @ across
    share = np.clip(2 * np.abs(offset) / max(float(np.ptp(offset)), 1e-6), 0, 1)
    return np.asarray(points[list(outline)] - (np.sign(offset) * share * inset_px)[:, None] * across)


def build_lip_mask(landmarks: NDArray[Any], size: int) -> F32:
    """Build a soft mask [size size] of the lips and all between them, of a face [468 2+] in crop pixels."""
    points = np.asarray(landmarks[:, :2], dtype=np.float64)
    unit = measure_inter_ocular_px(points)
    canvas = np.zeros((size, size), dtype=np.uint8)
    _fill_hull(canvas, points[list(MOUTH_OUTER)], 255)
    return _blur(canvas, max(2, round(_LIP_FEATHER * unit)))


def _draw_lower_half(points: NDArray[np.float64], cheeks: NDArray[np.float64], size: int) -> U8:
    """Draw everything below the line over the cheeks."""
    left, right, down = points[_JAW[0]], points[_JAW[-1]], _compute_down_axis(points)
    side = np.array([-down[1], down[0]])  # from right to left in an upright face
    reach = 2.0 * size
    ends = [left + reach * side, left + reach * (side + down), right + reach * (down - side), right - reach * side]
    line = np.concatenate([cheeks, np.stack([left, *ends, right])])
    canvas = np.zeros((size, size), dtype=np.uint8)
    cv2.fillPoly(canvas, [round_to_subpixels(line)], 255, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    return canvas


def _fill_hull(canvas: U8, points: NDArray[np.float64], value: int) -> NDArray[Any]:
    """Fill the convex hull of points [n 2] in `canvas`, and return it in cv2's fixed point."""
    hull = np.asarray(cv2.convexHull(round_to_subpixels(points)))
    cv2.fillPoly(canvas, [hull], value, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    return hull


def _fill_lips(canvas: U8, points: NDArray[np.float64], unit: float) -> None:
    """Fill the lips of a face [468 2], all between them, and a margin that is lost where the canvas is blurred."""
    hull = _fill_hull(canvas, points[list(MOUTH_OUTER)], 255)
    thickness = max(1, round(2 * _LIP_MARGIN * unit))
    cv2.polylines(canvas, [hull], True, 255, thickness=thickness, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)


def _build_disc(radius_px: float) -> U8:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(radius_px)) + 1,) * 2))


def _compute_down_axis(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the unit vector from forehead to chin."""
    axis = points[CHIN] - points[OVAL[0]]
    return np.asarray(axis / max(float(np.hypot(*axis)), 1e-6))


def _blur(canvas: U8, feather: int) -> F32:
    """Scale 0..255 to 0..1 and smooth with a kernel of support `feather`."""
    box = max(1, feather // 2) | 1
    blurred = cv2.blur(canvas.astype(np.float32) / np.float32(255), (box, box))
    return np.asarray(cv2.blur(blurred, (box, box)), dtype=np.float32)


def _build_limit_mask(
    points: NDArray[np.float64], unit: float, transform: CropTransform, width: int, height: int
) -> F32:
    """Build a soft mask that is 0 on the eyes, along the edge of the crop and outside the frame."""
    size = transform.size_px
    feather = max(2, round(_EYE_MARGIN * unit))
    canvas = np.full((size, size), 255, dtype=np.uint8)
    for eye in (LEFT_EYE, RIGHT_EYE):
        hull = _fill_hull(canvas, points[list(eye)], 0)
        cv2.polylines(canvas, [hull], True, 0, thickness=4 * feather, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    rim = max(1, round(_BORDER_SHARE * size))
    edge = np.zeros((size, size), dtype=np.uint8)
    edge[rim:-rim, rim:-rim] = 255
    allowed = _blur(np.asarray(np.minimum(canvas, edge)), feather)
    return allowed * _build_frame_mask(transform, width, height)


def _build_frame_mask(transform: CropTransform, width: int, height: int) -> F32:
    """Build a mask of 1 inside the frame, 0 outside; not feathered, since the frame's last pixel may be pasted."""
    size = transform.size_px
    corners = transform.to_frame(np.array([[0, 0], [size, 0], [size, size], [0, size]], dtype=np.float64))
    if (corners >= 0).all() and (corners <= (width, height)).all():
        return np.ones((size, size), dtype=np.float32)
    frame = map_pixel_centres(transform.inverse, size, size, np.float64)
    inside = (frame >= 0) & (frame <= (width, height))
    return (inside[..., 0] & inside[..., 1]).astype(np.float32)
