"""Occluders of a mouth: drawn hands, microphones, and things with patterns of our own."""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from cals.data.corruption.patterns import draw_clouds, draw_colour, draw_pattern
from cals.data.corruption.shapes import (
    Canvas,
    Point,
    Rod,
    light_ball,
    light_rod,
    measure_box,
    measure_oval,
    measure_rod,
)
from cals.types import F32, U8

COUNT = 120
"""Number of occluders: a third each of hands, microphones and other things."""
_SMALLEST_PX, _LARGEST_PX = 128, 512
_SKIN = np.array([[0.96, 0.80, 0.69], [0.88, 0.67, 0.53], [0.76, 0.54, 0.40], [0.55, 0.36, 0.25], [0.36, 0.23, 0.16]])
_FINGERS = ((-0.31, -0.02, 0.50), (-0.105, -0.10, 0.62), (0.105, -0.09, 0.57), (0.30, 0.0, 0.42))
"""Base of each finger of a hand with its wrist down, x and y, and its length."""
_POSES = ((1, 1, 1, 1), (1, 1, 1, 1), (0.1, 0.1, 0.1, 0.1), (1, 0.1, 0.1, 0.1), (1, 1, 0.1, 0.1))
"""Extension of each finger: a flat hand (twice as often), a fist, one finger, two."""


@dataclass(frozen=True, eq=False)
class Occluder:
    """A picture that is laid over a mouth."""

    picture: U8 = field(repr=False)
    """[n n 4], red, green, blue and alpha."""
    side: float
    """Side of a square of the covered area, as a share of the picture's side."""
    middle: Point
    """Its centre of gravity, in pixels with centres at whole numbers."""


def load_occluder(number: int, px: float) -> Occluder:
    """Return one of the `COUNT` occluders, sharp enough to cover a square of `px`; drawn once and cached."""
    required_px = px / _draw_once(number % COUNT, _SMALLEST_PX).side
    return _draw_once(number % COUNT, min(_LARGEST_PX, 1 << max(5, math.ceil(math.log2(max(required_px, 1))))))


@lru_cache(maxsize=4 * COUNT)
def _draw_once(number: int, px: int) -> Occluder:
    if px < _SMALLEST_PX:
        large = _draw_once(number, _SMALLEST_PX).picture
        picture = np.asarray(cv2.resize(large, (px, px), interpolation=cv2.INTER_AREA), np.uint8)
    else:
        rng = np.random.default_rng([number, COUNT])
        draw = (_draw_hand, _draw_microphone, _draw_thing)[number % 3]
        picture = draw(rng, px).finish(px)
    alpha = picture[..., 3] / 255
    index = np.arange(px)
    total = float(alpha.sum())
    middle = (float((alpha * index).sum() / total), float((alpha * index[:, None]).sum() / total))
    return Occluder(picture, math.sqrt(total) / px, middle)


def _draw_hand(rng: np.random.Generator, px: int) -> Canvas:
    canvas = Canvas(round(1.5 * px), rng.uniform(-1.3, 1.3))
    place = rng.uniform(0, len(_SKIN) - 1)
    skin = np.array([np.interp(place, range(len(_SKIN)), channel) for channel in _SKIN.T], np.float32)
    skin = np.clip(skin * rng.uniform(0.85, 1.05), 0, 1) * (1 + 0.05 * draw_clouds(rng, canvas, 6)[..., None])
    wrist = measure_rod(canvas, (0, 0.5), (0, 0.85), 0.27, 0.25)
    canvas.paint(wrist.distance, skin * light_rod(wrist)[..., None])
    sleeve = measure_box(canvas, (0, 1.0), 0.36, 0.14, 0.05)
    canvas.paint(sleeve, draw_colour(rng) * light_rod(wrist)[..., None])
    thumb = rng.uniform(0.2, 1.0)
    _paint_finger(canvas, skin, (-0.28, 0.42), (-0.38 - 0.34 * thumb, 0.25 - 0.3 * thumb), 0.13, nail=True)
    palm = measure_box(canvas, (0, 0.27), 0.42, 0.38, 0.22)
    light = light_ball(canvas, (0, 0.3), 0.75, 0.75)
    canvas.shade(palm, 0.08, 0.35)
    canvas.paint(palm, skin * np.clip(light + 0.15, 0, 1)[..., None])
    pose, spread, back = _POSES[int(rng.integers(len(_POSES)))], rng.uniform(0.0, 0.35), rng.random() < 0.6
    for (x, y, length), extension in zip(_FINGERS, pose, strict=True):
        angle = spread * x / 0.31
        reach = length * max(extension, 0.12)
        tip = (x + reach * math.sin(angle), y - reach * math.cos(angle))
        _paint_finger(canvas, skin, (x, y + 0.12), tip, 0.115, nail=back and extension == 1)
    return canvas


def _paint_finger(canvas: Canvas, skin: F32, start: Point, tip: Point, width: float, *, nail: bool) -> None:
    finger = measure_rod(canvas, start, tip, width, 0.86 * width)
    inside = finger.along * (1 - finger.along) > 0
    crease = sum(np.exp(-(((finger.along - at) / 0.03) ** 2)) for at in (0.45, 0.74)) * inside
    canvas.shade(finger.distance, 0.07, 0.45)
    canvas.paint(finger.distance, skin * (light_rod(finger) * (1 - 0.13 * crease))[..., None])
    if nail:
        length = max(math.hypot(tip[0] - start[0], tip[1] - start[1]), 1e-6)
        away = ((tip[0] - start[0]) / length, (tip[1] - start[1]) / length)
        root = (tip[0] - 0.02 * away[0], tip[1] - 0.02 * away[1])
        end = (tip[0] + 0.03 * away[0], tip[1] + 0.03 * away[1])
        plate = measure_rod(canvas, root, end, 0.5 * width)
        canvas.paint(plate.distance, np.clip(skin * (1.08, 1.0, 1.0) + 0.08, 0, 1), 0.8)


def _draw_microphone(rng: np.random.Generator, px: int) -> Canvas:
    canvas = Canvas(round(1.5 * px), rng.uniform(-0.9, 0.9))
    foam = rng.random() < 0.5
    wide, high = (0.46, rng.uniform(0.46, 0.6)) if foam else (0.40, 0.44)
    middle = (0.0, -0.45)
    body = np.full(3, rng.uniform(0.06, 0.3), np.float32)
    handle = measure_rod(canvas, (0, -0.1), (0, 0.55), 0.22, 0.17)
    canvas.paint(handle.distance, body * _gloss(handle)[..., None])
    canvas.paint(measure_box(canvas, (0, 0.3), 0.05, 0.09, 0.03), (0.75, 0.75, 0.75), 0.7)
    if foam and rng.random() < 0.6:  # the cube with a station's colours
        cube = measure_box(canvas, (0, 0.18), 0.34, 0.24, 0.04)
        canvas.paint(cube, draw_colour(rng))
        canvas.paint(measure_box(canvas, (0, 0.18), 0.22, 0.10, 0.03), draw_colour(rng))
    head = measure_oval(canvas, middle, wide, high)
    light = light_ball(canvas, middle, wide, high)[..., None]
    canvas.shade(head, 0.1, 0.5)
    if foam:
        colour = draw_colour(rng) * 0.7 if rng.random() < 0.5 else np.full(3, 0.12, np.float32)
        grain = 1 + 0.25 * draw_clouds(rng, canvas, 48)[..., None]
        canvas.paint(head, np.clip(colour * grain * light * 1.3, 0, 1))
        return canvas
    wires = 0.62 + 0.38 * np.sin(30 * (canvas.x + canvas.y)) * np.sin(30 * (canvas.x - canvas.y))
    canvas.paint(head, np.full(3, rng.uniform(0.45, 0.8), np.float32) * (wires[..., None] * light))
    canvas.paint(measure_box(canvas, (0, -0.43), wide, 0.035, 0.03), np.full(3, 0.7, np.float32) * light)
    collar = measure_box(canvas, (0, -0.03), 0.26, 0.06, 0.04)
    canvas.paint(collar, np.full(3, 0.6, np.float32) * _gloss(handle)[..., None])
    return canvas


def _gloss(rod: Rod) -> F32:
    """Return the light on polished metal: a bright streak along it."""
    return np.asarray(light_rod(rod) + 1.2 * np.exp(-(((rod.across - 0.3) / 0.18) ** 2)), dtype=np.float32)


def _draw_thing(rng: np.random.Generator, px: int) -> Canvas:
    """Draw a card, a cup, a ball or a cloth, patterned."""
    canvas = Canvas(round(1.5 * px), rng.uniform(-0.5, 0.5))
    ground = draw_pattern(rng, canvas)
    kind = int(rng.integers(4))
    if kind == 0:  # a card, a book or a phone: plain light, a margin
        wide, high = rng.uniform(0.5, 0.95), rng.uniform(0.6, 0.95)
        canvas.paint(measure_box(canvas, (0, 0), wide, high, 0.08), draw_colour(rng))
        canvas.paint(measure_box(canvas, (0, 0), wide - 0.08, high - 0.08, 0.04), ground)
    elif kind == 1:  # a cup with its handle
        ring = np.abs(measure_oval(canvas, (0.55, 0.1), 0.33, 0.36)) - np.float32(0.07)
        canvas.paint(ring, ground * 0.85)
        cup = measure_rod(canvas, (0, -0.3), (0, 0.4), 0.55, 0.45)
        cup_box = np.maximum(cup.distance, np.abs(canvas.y) - 0.75)
        canvas.shade(cup_box, 0.08, 0.4)
        canvas.paint(cup_box, ground * light_rod(cup)[..., None])
        rim = measure_oval(canvas, (0, -0.72), 0.45, 0.12)
        canvas.paint(rim, ground * 0.45)
    elif kind == 2:
        light = light_ball(canvas, (0, 0), 0.9, 0.9)[..., None]
        canvas.paint(measure_oval(canvas, (0, 0), 0.9, 0.9), ground * light)
    else:  # a cloth: a ragged outline, folds
        folds = draw_clouds(rng, canvas, 6)
        cloth = measure_box(canvas, (0, 0), 0.85, rng.uniform(0.5, 0.8), 0.3) + np.float32(0.12) * folds
        canvas.paint(cloth, np.clip(ground * (0.85 + 0.25 * folds)[..., None], 0, 1))
    return canvas
