"""Where the generated face replaces the original one."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import CHIN, LEFT_EYE, MOUTH_OUTER, OVAL, RIGHT_EYE, inter_ocular_px
from cals.types import F32, U8, CropTransform

_JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
"""From below the left ear down along the jaw, round the chin, up to below the right ear."""
_CHEEKS = (376, 425, 1, 205, 147)
"""Back from right to left over the cheeks and under the tip of the nose: plain skin, half way between the rim and
the upper lip's highest place on GRID, so that neither nostrils nor lips are cut by the rim."""
_UNDER_CHIN = 0.16
"""Room below the chin in inter-ocular distances: a generated mouth may open wider than the original one, and its
jaw then comes down over what is neck now."""
_FEATHER = 0.20
"""Width of the rim over which the mask rises from 0 to 1, in inter-ocular distances."""
_LIP_MARGIN = 0.08
"""What is covered around the lips in any case, before feathering, in inter-ocular distances."""
_EYE_MARGIN = 0.14
"""Distance kept from the eye contours, in inter-ocular distances."""
_BORDER = 0.05
"""Rim along the crop's edge that is always 0, as a share of its size: no seam where the crop ends."""
_SUBPIXEL_BITS = 4
_CHIN_LINE = (136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365)
"""The part of the jaw that moves with the mouth."""
_OVER = 0.05
"""Its fading begins so far over the line of the cheeks, in inter-ocular distances."""
_INSIDE, _OUTSIDE, _EDGE = 0.03, 0.05, 0.15
"""Where a moved face ends: so far inside the cheeks' outline, so far outside the chin's, fading over that width; in
inter-ocular distances."""


def lower_face_mask(landmarks: NDArray[Any], transform: CropTransform, width: int, height: int) -> F32:
    """Soft mask [size size] of the lower face with `landmarks` [468 2+] in crop pixels, for a frame of that size.

    1 over mouth, chin and cheeks, exactly 0 beyond the jaw and its allowance, over the eyes and where the crop lies
    outside the frame.
    """
    size = transform.size_px
    points = np.asarray(landmarks[:, :2], dtype=np.float64)
    unit = inter_ocular_px(points)
    down = _down(points)
    jaw = points[list(_JAW)]
    reach = np.clip((jaw - jaw[0]) @ down / max(float(((jaw - jaw[0]) @ down).max()), 1e-6), 0, 1)
    jaw = jaw + reach[:, None] ** 2 * (_UNDER_CHIN * unit) * down
    feather = max(2, round(_FEATHER * unit))
    canvas = np.zeros((size, size), dtype=np.uint8)
    cheeks_to_chin = _fixed(np.concatenate([jaw, points[list(_CHEEKS)]]))
    cv2.fillPoly(canvas, [cheeks_to_chin], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    # blurring spreads by half the feather, so the sharp mask has to be that much smaller than the outline
    cv2.polylines(canvas, [cheeks_to_chin], True, 0, thickness=feather, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    # in a turned head the far cheek folds behind the mouth, which has to be covered all the same
    lips = cv2.convexHull(_fixed(points[list(MOUTH_OUTER)]))
    cv2.fillPoly(canvas, [lips], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    around = max(1, round(2 * _LIP_MARGIN * unit))
    cv2.polylines(canvas, [lips], True, 255, thickness=around, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return _blurred(canvas, feather) * _allowed(points, unit, transform, width, height)


def moving_face_mask(
    landmarks: NDArray[Any], target: NDArray[Any], transform: CropTransform, width: int, height: int
) -> F32:
    """Soft mask [size size] for a face [468 2+] whose lower part is moved to `target` [468 2+], both in crop pixels.

    Unlike `lower_face_mask` it reaches the outline of jaw and cheeks, and the chin's old and new place: a jaw that
    stays while the lips move is seen, and read, as the old mouth. Towards the eyes it fades as widely as that one.
    """
    size = transform.size_px
    points, moved = (np.asarray(part[:, :2], dtype=np.float64) for part in (landmarks, target))
    unit = inter_ocular_px(points)
    edge, chins = np.zeros((size, size), dtype=np.uint8), np.zeros((size, size), dtype=np.uint8)
    cheeks = points[list(_CHEEKS)] - _OVER * unit * _down(points)
    cv2.fillPoly(edge, [_fixed(np.concatenate([points[list(_JAW)], cheeks]))], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    for face in (points, moved):
        cv2.fillPoly(chins, [_fixed(face[[*_CHIN_LINE, 291, 61]])], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    edge = np.maximum(cv2.erode(edge, _disc(_INSIDE * unit)), cv2.dilate(chins, _disc(_OUTSIDE * unit)))
    below = _blurred(_below(points, cheeks, size), max(2, round(_FEATHER * unit)))
    return _blurred(edge, max(2, round(_EDGE * unit))) * below * _allowed(points, unit, transform, width, height)


def _below(points: NDArray[np.float64], cheeks: NDArray[np.float64], size: int) -> U8:
    """Everything under the line over the cheeks."""
    left, right, down = points[_JAW[0]], points[_JAW[-1]], _down(points)
    side = np.array([-down[1], down[0]])  # from right to left in an upright face
    far = 2.0 * size
    ends = [left + far * side, left + far * (side + down), right + far * (down - side), right - far * side]
    line = np.concatenate([cheeks, np.stack([left, *ends, right])])
    canvas = np.zeros((size, size), dtype=np.uint8)
    cv2.fillPoly(canvas, [_fixed(line)], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return canvas


def _disc(radius_px: float) -> U8:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(radius_px)) + 1,) * 2))


def _down(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vector from forehead to chin."""
    axis = points[CHIN] - points[OVAL[0]]
    return np.asarray(axis / max(float(np.hypot(*axis)), 1e-6))


def _blurred(canvas: U8, feather: int) -> F32:
    """0..255 to 0..1, smoothed by a bell of support `feather`."""
    box = max(1, feather // 2) | 1
    once = cv2.blur(canvas.astype(np.float32) / np.float32(255), (box, box))
    return np.asarray(cv2.blur(once, (box, box)), dtype=np.float32)


def _allowed(points: NDArray[np.float64], unit: float, transform: CropTransform, width: int, height: int) -> F32:
    """Soft mask that is 0 on the eyes, along the crop's edge and outside the frame."""
    size = transform.size_px
    feather = max(2, round(_EYE_MARGIN * unit))
    canvas = np.full((size, size), 255, dtype=np.uint8)
    for eye in (LEFT_EYE, RIGHT_EYE):
        hull = cv2.convexHull(_fixed(points[list(eye)]))
        cv2.fillPoly(canvas, [hull], 0, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
        cv2.polylines(canvas, [hull], True, 0, thickness=4 * feather, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    rim = max(1, round(_BORDER * size))
    edge = np.zeros((size, size), dtype=np.uint8)
    edge[rim:-rim, rim:-rim] = 255
    allowed = _blurred(np.asarray(np.minimum(canvas, edge)), feather)
    return allowed * _inside(transform, width, height)


def _inside(transform: CropTransform, width: int, height: int) -> F32:
    """1 where the crop shows the frame, 0 beyond; not feathered, since the frame's last pixel may be pasted."""
    size = transform.size_px
    corners = transform.to_frame(np.array([[0, 0], [size, 0], [size, size], [0, size]], dtype=np.float64))
    if (corners >= 0).all() and (corners <= (width, height)).all():
        return np.ones((size, size), dtype=np.float32)
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1).reshape(-1, 2)
    frame = transform.to_frame(grid)
    inside = ((frame >= 0) & (frame <= (width, height))).all(axis=1)
    return np.asarray(inside.reshape(size, size), dtype=np.float32)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Fixed-point coordinates as cv2 draws them: pixel centres at whole numbers."""
    return np.rint((points - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
