"""Scenes with the astronaut's face placed as each test needs, and frames of GRID."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from cals.face.picture import ArrayPicture
from cals.face.sampling import build_similarity, warp
from cals.face.tracker import FaceTracker
from cals.types import U8, TrackedFace

GRID = Path(__file__).parents[3] / "shared" / "corpus" / "grid"
FACE_CENTRE = (224.0, 120.0)
"""Middle of the astronaut's face in her picture."""
FACE_PX = 97.0
"""Width of her face mesh there."""


def background(width: int, height: int, seed: int) -> U8:
    """Draw a scene with some structure and no face."""
    coarse = np.random.default_rng(seed).integers(40, 200, (6, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def put_face(
    scene: U8, portrait: U8, face_px: float, at: tuple[float, float], angle_deg: float = 0.0, mirror: bool = False
) -> U8:
    """Paste the astronaut's head into `scene`, soft-edged, the face `face_px` wide and centred `at`."""
    height, width = scene.shape[:2]
    source, centre = portrait, FACE_CENTRE
    if mirror:
        source, centre = np.ascontiguousarray(portrait[:, ::-1]), (portrait.shape[1] - FACE_CENTRE[0], FACE_CENTRE[1])
    matrix = build_similarity(face_px / FACE_PX, math.radians(angle_deg), centre, at)
    y, x = np.mgrid[: source.shape[0], : source.shape[1]] + 0.5
    reach = np.hypot((x - centre[0]) / 90, (y - centre[1]) / 110)
    alpha = np.clip((1.0 - reach) / 0.1, 0, 1).astype(np.float32)
    planes = np.dstack([source.astype(np.float32), alpha])
    laid = warp(planes, matrix, width, height, border=cv2.BORDER_CONSTANT)
    blend = np.clip(laid[..., 3:], 0, 1)
    return np.asarray(np.clip(scene + blend * (laid[..., :3] - scene), 0, 255).astype(np.uint8))


def run(tracker: FaceTracker, scenes: list[U8], fps: int = 25) -> list[TrackedFace]:
    return [tracker.update(ArrayPicture(rgb), Fraction(i, fps), i) for i, rgb in enumerate(scenes)]


def grid_frames(speaker: str, clip: int = 0, every: int = 1) -> Iterator[U8]:
    """Read RGB frames of one GRID clip; skips with a reason where the corpus is absent."""
    from cals.media.reader import VideoReader

    paths = sorted((GRID / speaker).glob("*.mp4"))
    if not paths:
        pytest.skip(f"the corpus is not at {GRID}")
    with VideoReader(paths[clip]) as reader:
        for frame in reader:
            if frame.index % every == 0:
                yield frame.rgb()
