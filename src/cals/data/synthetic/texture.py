"""A person's skin texture, painted once on the mesh's template; rendering moves it with the mesh."""

import cv2
import numpy as np

from cals.data.synthetic.grammar import F64
from cals.data.synthetic.people import Appearance
from cals.face.landmarks import (
    LEFT_BROW,
    LEFT_EYE,
    MOUTH_INNER,
    MOUTH_OUTER,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
)
from cals.face.sampling import SUBPIXEL_BITS, round_to_subpixels
from cals.types import F32, U8

FINE = 4
"""Texture pixels per pixel of a crop of 128."""
MARGIN_PX = 8
"""Margin around the crop of 128: foreheads reach beyond it."""
SIZE = (128 + 2 * MARGIN_PX) * FINE


def map_to_texture(points: F64) -> F64:
    """Map points [... 2+] of the upright face to texture pixels."""
    return np.asarray((points[..., :2] + MARGIN_PX) * FINE)


def _blur_mask(mask: U8, soft_px: float) -> F32:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft_px)[..., None] / np.float32(255), np.float32)


def _mask_polygon(points: F64, soft_px: float) -> F32:
    """Return the soft mask [SIZE SIZE 1] of a polygon [n 2] in texture pixels."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [round_to_subpixels(points)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return _blur_mask(mask, soft_px)


def _mask_line(points: F64, thick_px: int, soft_px: float, *, closed: bool = False) -> F32:
    """Return the soft mask [SIZE SIZE 1] of a line through points [n 2]."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(mask, [round_to_subpixels(points)], closed, 255, thick_px, cv2.LINE_AA, SUBPIXEL_BITS)
    return _blur_mask(mask, soft_px)


def _blend(canvas: F32, mask: F32, colour: object) -> None:
    """Blend a colour into the canvas, in place."""
    canvas += mask * (np.asarray(colour, np.float32) - canvas)


def _mask_ellipse(centre: F64, width: float, height: float) -> F32:
    """Return the soft mask [SIZE SIZE 1] of an ellipse."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    return np.asarray(
        np.exp(-(((x - centre[0]) / width) ** 2) - ((y - centre[1]) / height) ** 2)[..., None], np.float32
    )


def paint_texture(look: Appearance, template: F64) -> F32:
    """Paint the texture [SIZE SIZE 3], 0..255, for the mesh's template [468 3]."""
    rng = np.random.default_rng(look.freckles)
    points = map_to_texture(template)
    skin = np.array(look.skin, np.float32)
    canvas = np.tile(skin, (SIZE, SIZE, 1)).astype(np.float32)
    for cells, depth in ((6, 7.0), (40, 4.0), (150, 3.0)):
        grain = cv2.resize(rng.normal(size=(cells, cells, 1)).astype(np.float32), (SIZE, SIZE))[..., None]
        canvas += depth * grain * skin / 255
    for point, wide, high, tint in (
        (50, 40, 30, (1.0, 0.90, 0.90)), (280, 40, 30, (1.0, 0.90, 0.90)), (4, 26, 22, (0.98, 0.90, 0.89)),
        (110, 34, 12, (0.88, 0.86, 0.88)), (339, 34, 12, (0.88, 0.86, 0.88)), (18, 40, 9, (0.86, 0.84, 0.84)),
    ):  # fmt: skip
        _blend(canvas, 0.8 * _mask_ellipse(points[point], wide, high), skin * np.array(tint))
    _blend(canvas, look.stubble * _mask_beard(points), (60, 54, 52))
    _paint_nose(canvas, points, skin)
    _paint_lips(canvas, points, look)
    for ring, brow, side in ((LEFT_EYE, LEFT_BROW, 1), (RIGHT_EYE, RIGHT_BROW, -1)):
        _paint_eye(canvas, points[list(ring)], look)
        _paint_brow(canvas, points[list(brow)], look, rng, side)
    rim = 1 - _mask_polygon(points[list(OVAL)] * 0.97 + 0.03 * points[list(OVAL)].mean(axis=0), 14.0)
    _blend(canvas, 0.45 * rim, skin * 0.72)
    return np.clip(canvas, 0, 255)


def _mask_beard(points: F64) -> F32:
    jaw = [132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 425, 2, 205]
    return _mask_polygon(points[jaw], 14.0)


def _paint_nose(canvas: F32, points: F64, skin: F32) -> None:
    for nostril, wing in ((97, 98), (326, 327)):
        centre = 0.5 * (points[nostril] + points[wing]) - [0, 4]
        _blend(canvas, 0.85 * _mask_ellipse(centre, 9, 4.5), skin * np.array([0.34, 0.26, 0.25]))
    for fold in ((129, 203, 206, 216), (358, 423, 426, 436)):
        _blend(canvas, 0.35 * _mask_line(points[list(fold)], 5, 4.0), skin * 0.6)
    for wing in (98, 327):
        _blend(canvas, 0.25 * _mask_ellipse(points[wing] + [0, 2], 5, 9), skin * 0.55)


def _paint_lips(canvas: F32, points: F64, look: Appearance) -> None:
    outer, inner = points[list(MOUTH_OUTER)], points[list(MOUTH_INNER)]
    lips = np.array(look.lips, np.float32)
    _blend(canvas, 0.95 * _mask_polygon(outer, 1.6), lips)
    upper = np.concatenate([outer[:11], inner[10::-1]])
    _blend(canvas, 0.35 * _mask_polygon(upper, 2.0), lips * 0.8)
    _blend(canvas, 0.45 * _mask_ellipse(0.4 * points[14] + 0.6 * points[17], 26, 5), np.minimum(lips * 1.25 + 20, 255))
    _blend(canvas, 0.6 * _mask_line(inner, 2, 1.2, closed=True), lips * 0.45)


def _paint_eye(canvas: F32, ring: F64, look: Appearance) -> None:
    centre = ring.mean(axis=0)
    wide = float(np.ptp(ring[:, 0]))
    inside = _mask_polygon(ring, 0.8)
    white = np.array([236, 232, 226], np.float32) * (0.82 + 0.1 * np.array(look.skin).mean() / 255)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    radius = np.hypot(x - centre[0], y - centre[1])[..., None] / (0.215 * wide)
    shadow = 1 - 0.35 * np.exp(-np.clip(y - ring[1:8, 1].min(), 0, None) / 7)[..., None]
    eye = np.tile(white, (SIZE, SIZE, 1)) * shadow
    soft = 1 / (0.06 * 4)
    iris = np.array(look.iris, np.float32) * (0.55 + 0.75 * np.clip(radius, 0, 1))
    for size, colour in ((1.0, iris * 0.9), (0.42, np.full(3, 12.0))):
        mask = np.clip((size - radius) * soft + 0.5, 0, 1).astype(np.float32)
        eye = eye + mask * (colour * shadow - eye)
    eye += 200 * np.exp(-(((x - centre[0] + 4) / 2.2) ** 2) - ((y - centre[1] + 5) / 2.2) ** 2)[..., None]
    canvas += inside * (np.clip(eye, 0, 255).astype(np.float32) - canvas)
    skin = np.array(look.skin, np.float32)
    upper, lower = ring[:9], ring[[8, *range(9, 16), 0]]
    _blend(canvas, 0.85 * _mask_line(upper, 5, 1.0), (34, 24, 22))
    _blend(canvas, 0.5 * _mask_line(upper - [0, 11], 3, 2.0), skin * 0.5)
    _blend(canvas, 0.4 * _mask_line(lower, 2, 1.2), skin * 0.45)


def _paint_brow(canvas: F32, brow: F64, look: Appearance, rng: np.random.Generator, side: int) -> None:
    """Paint strokes of hair along the brow's middle line, from the nose outward."""
    upper, lower = brow[:5], brow[:4:-1]
    line = 0.5 * (upper + lower)
    strokes = np.zeros((SIZE, SIZE), np.uint8)
    for place in rng.uniform(0, 1, 160):
        i = place * (len(line) - 1)
        centre = np.array([np.interp(i, range(len(line)), line[:, axis]) for axis in (0, 1)])
        thick = look.brows * (4.0 + 4.0 * np.sin(np.pi * np.clip(place + 0.1, 0, 1)))
        foot = centre + np.array([0, rng.normal(0, 0.4) * thick])
        tip = foot + np.array([-side * rng.uniform(5, 11), -rng.uniform(-1, 4)])
        cv2.polylines(strokes, [round_to_subpixels(np.stack([foot, tip]))], False, 255, 2, cv2.LINE_AA, SUBPIXEL_BITS)
    _blend(canvas, 0.85 * _blur_mask(strokes, 1.2), np.array(look.hair) * 0.7)
