"""Visualisation of several people: who is called what, and when each is visible."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

import cv2
import numpy as np

from cals.face.draw import draw_text, render_contact_sheet
from cals.types import U8, Box

Colour = tuple[int, int, int]
_COLOURS: tuple[Colour, ...] = (
    (255, 220, 0),
    (90, 200, 255),
    (255, 130, 110),
    (120, 230, 120),
    (220, 150, 255),
    (255, 170, 60),
    (150, 230, 220),
    (240, 240, 240),
)
_BAR_PX, _TEXT_PX = 10, 30
_MAX_ASPECT = 0.6
"""Height of the frame in widths of the sheet."""
_BACKGROUND, _ABSENT_COLOUR = (40, 40, 40), (90, 90, 90)


def get_colour(index: int) -> Colour:
    """Return a colour for each of several people."""
    return _COLOURS[index % len(_COLOURS)]


def draw_names(rgb: U8, people: Iterable[tuple[str, Box, Colour]], width: int) -> U8:
    """Draw the name and box of each person on a frame that is scaled to `width` pixels, or less if it is tall."""
    zoom = min(width / rgb.shape[1], _MAX_ASPECT * width / rgb.shape[0])
    size = (max(1, round(rgb.shape[1] * zoom)), max(1, round(rgb.shape[0] * zoom)))
    out = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR), np.uint8)
    for name, box, colour in people:
        x0, y0, x1, y1 = (round(edge * zoom) for edge in box)
        cv2.rectangle(out, (x0, y0), (x1 - 1, y1 - 1), colour, 3, cv2.LINE_AA)
        scale = 1.4 if len(name) < 3 else 0.7
        out = draw_text(out, name, (max(x0, 2), max(y0 - round(29 * scale), 2)), colour, scale)
    sheet = np.full((size[1], width, 3), _BACKGROUND, np.uint8)
    sheet[:, : size[0]] = out
    return sheet


def draw_person_row(
    text: str,
    colour: Colour,
    intervals_s: Iterable[tuple[Fraction, Fraction]],
    end_s: Fraction,
    thumbnails: Sequence[tuple[str, U8]],
    *,
    columns: int,
) -> U8:
    """Draw a person's text, the times when they are visible as a bar from 0 to `end_s`, and labelled thumbnails."""
    blank = np.full_like(thumbnails[0][1], 255)
    cells = [*thumbnails, *[("", blank)] * (-len(thumbnails) % columns)]
    faces = render_contact_sheet([image for _, image in cells], columns, [label for label, _ in cells])
    width = faces.shape[1]
    head = np.full((_TEXT_PX + _BAR_PX, width, 3), _BACKGROUND, np.uint8)
    head[_TEXT_PX:] = _ABSENT_COLOUR
    for start_s, stop_s in intervals_s:
        left, right = (round(time_s / end_s * width) for time_s in (start_s, stop_s))
        head[_TEXT_PX:, left : max(right, left + 1)] = colour
    return np.vstack([draw_text(head, text, (8, 4), colour, 0.6), faces])
