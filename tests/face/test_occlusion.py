"""Something before the mouth is noticed, whatever it is, and a bare mouth is not taken for covered."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_scenes import run

from cals.face.align import Aligner, sample_crop
from cals.face.detector import BlazeFaceMesh
from cals.face.landmarks import MOUTH_OUTER, compute_eye_centres
from cals.face.occlusion import OcclusionDetector
from cals.face.picture import ArrayPicture
from cals.face.tracker import FaceTracker
from cals.media.reader import VideoReader
from cals.types import F32, U8, TrackedFace

CLIP = Path(__file__).parents[2] / "examples" / "grid-s20.mp4"
Draw = Callable[[U8, F32, float], None]


@pytest.fixture(scope="module")
def clip() -> list[U8]:
    with VideoReader(CLIP) as reader:
        return [np.ascontiguousarray(frame.rgb()) for frame in reader]


@pytest.fixture(scope="module")
def faces(detector: BlazeFaceMesh, clip: list[U8]) -> list[TrackedFace]:
    return run(FaceTracker(detector), clip)


def _place(landmarks: F32) -> tuple[float, float, float]:
    """Measure the middle of the lips, and the distance between the eyes."""
    left, right = compute_eye_centres(landmarks)
    x, y = (landmarks[13, :2] + landmarks[14, :2]) / 2
    return float(x), float(y), float(np.hypot(*(right - left)))


def hand(rgb: U8, landmarks: F32, away: float) -> None:
    """Draw four fingers and a palm in the colour of the person's skin, `away` eye distances to the left."""
    x, y, unit = _place(landmarks)
    skin = rgb[tuple(np.rint(landmarks[205, [1, 0]]).astype(int))].astype(float) * 0.92
    for k in range(4):
        row = round(y + (k - 1.5) * 0.32 * unit)
        ends = (round(x - (1.8 + away) * unit), row), (round(x + (0.5 - away) * unit), row)
        cv2.line(rgb, *ends, (0.6 * skin).tolist(), round(0.34 * unit), cv2.LINE_AA)
        cv2.line(rgb, *ends, skin.tolist(), round(0.28 * unit), cv2.LINE_AA)


def microphone(rgb: U8, landmarks: F32, away: float) -> None:
    x, y, unit = _place(landmarks)
    centre = round(x), round(y + (0.2 + away) * unit)
    cv2.line(rgb, centre, (centre[0], centre[1] + round(3 * unit)), (62, 62, 66), round(0.25 * unit), cv2.LINE_AA)
    cv2.circle(rgb, centre, round(0.4 * unit), (42, 42, 46), -1, cv2.LINE_AA)


def mask(rgb: U8, landmarks: F32, away: float) -> None:
    x, y, unit = _place(landmarks)
    shape = np.array([(-1, -0.5), (0, -0.7), (1, -0.5), (0.9, 0.35), (0.45, 0.95), (-0.45, 0.95), (-0.9, 0.35)])
    points = np.rint(shape * unit + (x, y + away * unit)).astype(np.int32)
    cv2.fillPoly(rgb, [points], (150, 195, 215), cv2.LINE_AA)


def lipstick(rgb: U8, landmarks: F32, away: float) -> None:
    """Make the lips red, or where nothing is `away` roll them in: a line is left of them."""
    outer = np.rint(landmarks[list(MOUTH_OUTER), :2]).astype(np.int32)
    lips = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillPoly(lips, [outer], 255, cv2.LINE_AA)
    share = cv2.GaussianBlur(lips, (5, 5), 0)[..., None] / 255
    skin = rgb[tuple(np.rint(landmarks[[205, 425]][:, [1, 0]]).astype(int).T)].astype(float).mean(axis=0)
    colour = skin * (0.95, 0.82, 0.85) if away == 0 else skin * (0.8, 0.2, 0.3)
    rgb[:] = np.rint(rgb * (1 - share) + colour * share).astype(np.uint8)


def text(rgb: U8, landmarks: F32, away: float) -> None:
    x, y, unit = _place(landmarks)
    at, scale = (round(x - (1.6 + away) * unit), round(y + 0.15 * unit)), 0.018 * unit
    cv2.putText(rgb, "LIVE FROM", at, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 6, cv2.LINE_AA)
    cv2.putText(rgb, "LIVE FROM", at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2, cv2.LINE_AA)


def watch(detector: BlazeFaceMesh, frames: list[U8]) -> list[bool | None]:
    """Return the result for each frame; None where the tracker finds no face, as occluders may cause."""
    tracker, aligner, cover = FaceTracker(detector), Aligner(), OcclusionDetector()
    told: list[bool | None] = []
    for i, rgb in enumerate(frames):
        picture, time_s = ArrayPicture(rgb), Fraction(i, 25)
        face = tracker.update(picture, time_s, i)
        if not face.valid:
            told.append(None)
            continue
        transform = aligner.update(face)
        told.append(
            cover.update(sample_crop(picture, transform), transform.map_landmarks(face.landmarks), time_s, cut=face.cut)
        )
    return told


def covered(clip: list[U8], faces: list[TrackedFace], draw: Draw, away: Callable[[int], float]) -> list[U8]:
    frames = [rgb.copy() for rgb in clip]
    for i, (rgb, face) in enumerate(zip(frames, faces, strict=True)):
        draw(rgb, face.landmarks, away(i))
    return frames


def test_a_bare_mouth_is_never_covered(detector: BlazeFaceMesh, clip: list[U8]) -> None:
    assert watch(detector, clip) == [False] * len(clip)


@pytest.mark.parametrize("draw", [hand, microphone, mask, text])
def test_what_comes_before_a_mouth_and_goes_is_noticed(
    detector: BlazeFaceMesh, clip: list[U8], faces: list[TrackedFace], draw: Draw
) -> None:
    told = watch(detector, covered(clip, faces, draw, lambda i: 0.0 if 40 <= i < 60 else 9.0))
    assert told[:40] == [False] * 40
    assert sum(one is not False for one in told[40:60]) >= 18
    assert told[66:] == [False] * len(told[66:])  # the tracker may have to find the face again


@pytest.mark.parametrize(("frames", "is_noticed"), [(5, False), (15, True)])
def test_lips_may_be_rolled_in_for_a_moment(
    detector: BlazeFaceMesh, clip: list[U8], faces: list[TrackedFace], frames: int, is_noticed: bool
) -> None:
    told = watch(detector, covered(clip, faces, lipstick, lambda i: 0.0 if 40 <= i < 40 + frames else 9.0))
    assert told[:40] == [False] * 40
    assert any(told[40 : 40 + frames]) is is_noticed


def test_a_hand_that_sweeps_slowly_is_not_learned(
    detector: BlazeFaceMesh, clip: list[U8], faces: list[TrackedFace]
) -> None:
    told = watch(detector, covered(clip, faces, hand, lambda i: max(0.0, (62 - i) * 0.06)))
    assert not any(told[:30])  # 1.9 eye distances away
    assert all(one is not False for one in told[57:])


@pytest.mark.parametrize("draw", [microphone, mask, text])
def test_what_is_there_from_the_first_frame_on_is_noticed(
    detector: BlazeFaceMesh, clip: list[U8], faces: list[TrackedFace], draw: Draw
) -> None:
    told = watch(detector, covered(clip, faces, draw, lambda i: 0.0))
    assert sum(one is not False for one in told) >= 0.9 * len(told)


@pytest.mark.parametrize("change", ["dimmer", "grey", "dark and noisy"])
def test_light_and_colour_of_the_picture_do_not_matter(detector: BlazeFaceMesh, clip: list[U8], change: str) -> None:
    rng = np.random.default_rng(0)
    frames = []
    for i, rgb in enumerate(clip):
        if change == "dimmer":
            new = rgb * (1.0 - 0.6 * i / len(clip))
        elif change == "grey":
            new = np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2)
        else:
            new = (rgb / 255.0) ** 2.2 * 40 + rng.normal(0, 5, rgb.shape)
        frames.append(np.clip(new, 0, 255).astype(np.uint8))
    told = watch(detector, frames)
    assert not any(told)


def test_another_light_counts_as_covered_for_a_second_at_most(detector: BlazeFaceMesh, clip: list[U8]) -> None:
    """Light from one side, from one frame to the next: the whole face is of other colours."""
    side = np.linspace(0.3, 1.2, clip[0].shape[1])[None, :, None] ** 1.5
    frames = [rgb if i < 35 else np.clip(rgb * side, 0, 255).astype(np.uint8) for i, rgb in enumerate(clip)]
    told = watch(detector, frames)
    assert not any(told[:35])
    assert not any(told[35 + 26 :])
