"""Blinks of a still face: the skin above the eye is drawn down over it, the eye itself stays."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.landmarks import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE
from cals.types import F32, U8

F64 = NDArray[np.float64]
_UPPER, _LOWER = slice(0, 9), slice(8, 17)
"""Points of the upper and of the lower lid, each with both corners, in an eye's points with the first one repeated."""
_MIN_OPENING = 0.16
"""Opening of an eye as a share of its width below which it counts as closed already."""
_MIN_WIDTH_PX = 10
_MAX_ASYMMETRY = 1.8
"""Largest ratio between the widths of the eyes; a head that is turned further hides one."""
_MIN_BRIGHTNESS = 0.55
"""Brightness of the skin above an eye, against the cheek's, below which it is taken for dark glass."""
_MIN_ROOM = 1.55
"""Room between lid and brow, in openings, below which there is no skin to draw down."""
_SKIN_RANGE, _MAX_SKIN = (0.9, 1.15), 0.2
"""Brightness of skin against that of the lid, and the share of an eye that may be as bright: a closed eye is skin."""
_RAISE = 0.12
"""Share of the opening by which the lower lid comes up."""
_LID_MARGIN, _LOWER_MARGIN = 0.10, 0.20
"""How far above the mesh's line the upper lid ends, and below its line the lower one begins, in openings, so that they
are skin and no pieces of the eye; a mesh makes wide eyes too small."""
_LASH_WIDTH, _LASH_SHADE = 0.13, 0.45
"""Height of the dark rim of a closed lid, in openings, and its brightness."""
_CHEEKS = (50, 280)


@dataclass(frozen=True, eq=False)
class _Lids:
    """One eye in coordinates along the line between its corners, x in pixels from the left one, y downwards."""

    rotation: F64
    """[2 2], picture to eye."""
    origin: F64
    width: float
    upper: F64
    """Coefficients of the polynomial y(x) of the upper lid, [5]; `lower` alike, and the brow's lower edge, [3]."""
    lower: F64
    brow: F64

    @property
    def opening(self) -> float:
        x = self.width / 2
        return float(np.polyval(self.lower, x) - np.polyval(self.upper, x))

    @property
    def room(self) -> float:
        """Height of the skin between upper lid and brow."""
        return float(np.polyval(self.upper, self.width / 2) - np.polyval(self.brow, self.width / 2))


def _fit_lids(landmarks: F32, eye: tuple[int, ...], brow: tuple[int, ...]) -> _Lids:
    points = landmarks[[*eye, eye[0]], :2].astype(np.float64)
    left, right = points[0], points[8]
    width = float(np.hypot(*(right - left)))
    x_axis = (right - left) / width
    rotation = np.stack([x_axis, [-x_axis[1], x_axis[0]]])
    local = (points - left) @ rotation.T
    edge = (landmarks[list(brow), :2] - left) @ rotation.T
    upper, lower = (np.polyfit(part[:, 0], part[:, 1], 4) for part in (local[_UPPER], local[_LOWER]))
    return _Lids(rotation, left, width, upper, lower, np.polyfit(edge[:, 0], edge[:, 1], 2))


@dataclass(eq=False)
class Blinker:
    """The eyes of one still face, which can be closed; `can_blink` where that can look right."""

    landmarks: F32 = field(repr=False)
    """[468 3] in pixels of the picture that is given later."""

    def __post_init__(self) -> None:
        parts = (LEFT_EYE, LEFT_BROW[5:]), (RIGHT_EYE, RIGHT_BROW[5:])  # the second half of a brow is its lower edge
        self._eyes = [_fit_lids(self.landmarks, eye, brow) for eye, brow in parts]

    def can_blink(self, rgb: U8) -> bool:
        """Whether both eyes are open, seen from the front, large enough, with skin above and no dark glass before."""
        widths = [eye.width for eye in self._eyes]
        if min(widths) < _MIN_WIDTH_PX or max(widths) > _MAX_ASYMMETRY * min(widths):
            return False
        if any(eye.opening < _MIN_OPENING * eye.width or eye.room < _MIN_ROOM * eye.opening for eye in self._eyes):
            return False
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        skin_shares = []
        for eye, cheek in zip(self._eyes, _CHEEKS, strict=True):
            x = np.linspace(0.3, 0.7, 13) * eye.width
            upper, lower = np.polyval(eye.upper, x), np.polyval(eye.lower, x)
            blurred = np.asarray(cv2.blur(grey, (2 * max(1, round(eye.width / 12)) + 1,) * 2), np.uint8)
            lid = float(_read(blurred, eye, x, (upper + np.polyval(eye.brow, x)) / 2).mean())
            column, row = np.clip(self.landmarks[cheek, :2].astype(int), 0, np.array(grey.shape)[::-1] - 1)
            if lid < _MIN_BRIGHTNESS * blurred[row, column]:
                return False
            shares = np.linspace(0, 1, 21)[:, None]
            brightness = _read(blurred, eye, np.broadcast_to(x, (21, 13)), upper + shares * (lower - upper)) / lid
            skin_shares.append(((brightness > _SKIN_RANGE[0]) & (brightness < _SKIN_RANGE[1])).mean())
        return float(np.mean(skin_shares)) <= _MAX_SKIN

    def close(self, rgb: U8, closure: float) -> U8:
        """Return the picture [h w 3] with both eyes closed by `closure`, 0 as they are to 1 shut."""
        result = rgb.copy()
        for eye in self._eyes if closure > 0 else []:
            _close_eye(result, rgb, eye, closure)
        return result


def _read(grey: U8, eye: _Lids, x: F64, y: F64) -> F64:
    """Return the nearest pixels at places in an eye."""
    places = (np.stack([x, y], axis=-1) @ eye.rotation + eye.origin).astype(int)
    rows, columns = (np.clip(places[..., axis], 0, grey.shape[1 - axis] - 1) for axis in (1, 0))
    return np.asarray(grey[rows, columns], np.float64)


def _close_eye(result: U8, rgb: U8, eye: _Lids, closure: float) -> None:
    """Draw one closed eye into `result`."""
    height, width = rgb.shape[:2]
    reach = np.array([[-0.1, 1.1, 1.1, -0.1], [0, 0, 0, 0]]).T * eye.width
    reach[:, 1] = [*np.polyval(eye.brow, reach[:2, 0]) - eye.opening, eye.opening * 2.5, eye.opening * 2.5]
    corners = reach @ eye.rotation + eye.origin
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, (width, height))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    rows, columns = np.mgrid[y0:y1, x0:x1]
    x, y = np.moveaxis((np.stack([columns, rows], axis=-1) + 0.5 - eye.origin) @ eye.rotation.T, -1, 0)
    inside = np.clip(x, 0, eye.width)
    upper, lower = np.polyval(eye.upper, inside), np.polyval(eye.lower, inside)
    opening = np.maximum(lower - upper, 0) * ((x > 0) & (x < eye.width))
    lid = upper - _LID_MARGIN * opening
    lower = lower + _LOWER_MARGIN * opening
    drop = closure * (1 - _RAISE + _LID_MARGIN + _LOWER_MARGIN) * opening
    raised = closure * _RAISE * opening
    edge = lid + drop
    lid_y = _invert_stretch(y, np.minimum(np.polyval(eye.brow, inside), lid - 0.3 * opening), lid, drop)
    below = y - (lower - raised)
    cheek = np.exp(-np.maximum(below, 0) / (0.5 * opening + 1e-3))
    eye_y = np.where(below > 0, y + raised * cheek, y)
    cover = np.clip(edge - y + 0.5, 0, 1) * np.clip(opening, 0, 1)
    lid_rgb = _sample(rgb, eye, x, lid_y)
    eye_rgb = _sample(rgb, eye, x, eye_y)
    rim = np.clip(1 - (edge - y) / (_LASH_WIDTH * eye.opening), 0, 1) * np.clip(opening / eye.opening, 0, 1) ** 0.5
    shade = 1 - (1 - _LASH_SHADE) * rim * rim * min(1.0, 2 * closure)
    blended = eye_rgb + cover[..., None] * (lid_rgb * shade[..., None] - eye_rgb)
    result[y0:y1, x0:x1] = np.where(opening[..., None] > 0, np.rint(blended), rgb[y0:y1, x0:x1]).astype(np.uint8)


def _invert_stretch(y: F64, top: F64, lid: F64, drop: F64) -> F64:
    """Return where skin that is now at `y` was, if the lid moved down by `drop` and nothing moved above `top`."""
    source, height = np.minimum(y, lid), np.maximum(lid - top, 1e-3)
    low, high = y - drop, y.copy()
    for _ in range(20):
        source = (low + high) / 2
        share = np.clip((source - top) / height, 0, 1)
        ahead = source + drop * share * share * (3 - 2 * share) > y
        low, high = np.where(ahead, low, source), np.where(ahead, source, high)
    return source


def _sample(rgb: U8, eye: _Lids, x: F64, y: F64) -> F64:
    places = (np.stack([x, y], axis=-1) @ eye.rotation + eye.origin - 0.5).astype(np.float32)
    return cv2.remap(rgb, places[..., 0], places[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(
        np.float64
    )
