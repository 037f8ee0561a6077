"""Where the generated face replaces the original one."""

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import CHIN, LEFT_EYE, MOUTH_OUTER, OVAL, RIGHT_EYE, inter_ocular_px
from cals.types import F32, U8, CropTransform, TrackedFace

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


def lower_face_mask(face: TrackedFace, transform: CropTransform, width: int, height: int) -> F32:
    """Soft mask [size size] of the lower face in crop space for a frame of `width` x `height`.

    1 over mouth, chin and cheeks, exactly 0 beyond the jaw and its allowance, over the eyes and where the crop lies
    outside the frame.
    """
    size = transform.size_px
    points = transform.to_crop(face.landmarks[:, :2].astype(np.float64))
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
