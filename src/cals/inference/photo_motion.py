"""A photo that lives: blinks and slight motion of the head, by warping its own pixels."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.face.blink import Blinker
from cals.face.landmarks import OVAL
from cals.inference.stream import LipFrame
from cals.media.frame import Frame
from cals.types import F32, U8, Box, Patch

F64 = NDArray[np.float64]
CLOSE_S, SHUT_S, OPEN_S = 0.12, 0.04, 0.2
"""Durations of a blink's parts."""
_INTERVAL_S, _INTERVAL_SIGMA = 3.0, 0.5
"""Median of the time between blinks, and the deviation of its logarithm: 17 blinks a minute."""
_FIRST_BLINK_S = 0.8
_RATES_HZ = (0.1, 0.45)
_ROLL_DEG, _SWAY = 0.6, (0.008, 0.010)
"""Standard deviations of the head's roll, and of its shift as a share of the face's width and height."""
_EASE_S = 1.0
"""Time in which the motion begins, so that the first frame is the photo."""
_HEAD, _REACH = 1.25, 2.0
"""Radius in outlines of the face within which all moves, and beyond which nothing does."""
_RELIEF = 0.5
"""How much further than its outline the middle of a face shifts, as what is nearer does."""


def animate_photo(lip_frames: Iterable[LipFrame], seed: int | None = None) -> Iterator[LipFrame]:
    """Yield a photo's frames with blinks and motion of the head; `seed` None takes one from its pixels."""
    motion: PhotoMotion | None = None
    for lip_frame in lip_frames:
        if motion is None and lip_frame.face.valid:
            motion = PhotoMotion(lip_frame.frame, lip_frame.face.landmarks, seed)
        yield lip_frame if motion is None else replace(lip_frame, frame=motion.apply(lip_frame.frame))


class PhotoMotion:
    """The motion of one face in a still picture; frames come in the order of their times."""

    def __init__(self, photo: Frame, landmarks: F32, seed: int | None = None) -> None:
        outline = landmarks[list(OVAL), :2].astype(np.float64)
        self._centre = (outline.min(axis=0) + outline.max(axis=0)) / 2
        self._radius = (outline.max(axis=0) - outline.min(axis=0)) / 2
        low, high = np.floor(self._centre - _REACH * self._radius), np.ceil(self._centre + _REACH * self._radius)
        self._box = Box(*(int(value) for value in (*low, *high))).clip(photo.width, photo.height)
        pixels = photo.rgb(self._box)
        self._rng = np.random.default_rng(zlib.crc32(pixels.tobytes()) if seed is None else seed)
        self._build_grid(photo.width, photo.height)
        local = landmarks - np.array([self._box.x0, self._box.y0, 0], np.float32)
        blinker = Blinker(local)
        self._blinker = blinker if blinker.can_blink(pixels) else None
        self._blink_s = _FIRST_BLINK_S + _INTERVAL_S * self._rng.random()
        self._rates_hz = _RATES_HZ[0] * (_RATES_HZ[1] / _RATES_HZ[0]) ** self._rng.random((3, 3))
        self._phases = self._rng.uniform(0, 2 * np.pi, size=(3, 3))

    def apply(self, frame: Frame) -> Frame:
        """Return the frame as it looks at its time."""
        time_s = float(frame.time_s)
        rgb = frame.rgb(self._box)
        closure = self._compute_closure(time_s)
        if self._blinker is not None and closure > 0:
            rgb = self._blinker.close(rgb, closure)
        return frame.with_patch(Patch(self._box, self._move(rgb, time_s), self._alpha))

    def _draw_interval(self) -> float:
        return float(_INTERVAL_S * np.exp(_INTERVAL_SIGMA * self._rng.normal()))

    def _compute_closure(self, time_s: float) -> float:
        """Compute how far the eyes are closed, 0 to 1."""
        while time_s >= self._blink_s + CLOSE_S + SHUT_S + OPEN_S:
            self._blink_s += CLOSE_S + SHUT_S + OPEN_S + self._draw_interval()
        since_s = time_s - self._blink_s
        opened = np.array([since_s / CLOSE_S, 1 - (since_s - CLOSE_S - SHUT_S) / OPEN_S])
        return float(_smooth(opened).prod())

    def _build_grid(self, width: int, height: int) -> None:
        """Build the places of the box's pixels in it, and how each moves with a turn and a shift of the head."""
        box = self._box
        rows, columns = np.mgrid[box.y0 : box.y1, box.x0 : box.x1] + 0.5
        offsets = np.stack([columns, rows], axis=-1) - self._centre
        radius = np.linalg.norm(offsets / self._radius, axis=-1)
        edge = np.minimum.reduce([columns, rows, width - columns, height - rows]) / (0.4 * self._radius[1])
        follow = _smooth((_REACH - radius) / (_REACH - _HEAD)) * _smooth(edge)
        from_neck = offsets - np.array([0, self._radius[1]])
        turn = np.stack([from_neck[..., 1], -from_neck[..., 0]], axis=-1) * follow[..., None]
        relief = follow * (1 + _RELIEF * np.clip(1 - radius**2, 0, 1))
        places = np.stack([columns - box.x0, rows - box.y0], axis=-1) - 0.5  # cv2 has pixel centres at whole numbers
        self._places, self._turn, self._relief = (part.astype(np.float32) for part in (places, turn, relief))
        self._alpha = (follow > 0).astype(np.float32)

    def _move(self, rgb: U8, time_s: float) -> U8:
        """Return the pixels of the box with the head as it is held at a time."""
        waves = np.sin(2 * np.pi * self._rates_hz * time_s + self._phases).sum(axis=1) * np.sqrt(2 / 3)
        roll, across, down = waves * float(_smooth(np.array(time_s / _EASE_S)))
        angle = np.float32(np.radians(_ROLL_DEG) * roll)
        shift = (np.array([across, down]) * 2 * self._radius * _SWAY).astype(np.float32)
        x, y = (self._places[..., axis] + angle * self._turn[..., axis] - shift[axis] * self._relief for axis in (0, 1))
        return np.asarray(cv2.remap(rgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _smooth(share: F64) -> F64:
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
