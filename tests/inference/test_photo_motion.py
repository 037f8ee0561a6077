"""A photo that lives moves within its reach, blinks at natural rates, and is the same each time."""

from fractions import Fraction

import numpy as np
import pytest

import drawn_face
from cals.inference.photo_motion import CLOSE_S, OPEN_S, SHUT_S, PhotoMotion, animate_photo
from cals.inference.stream import GENERATED, NO_FACE, FaceStatus, LipFrame
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.types import F32, U8, TrackedFace

SIZE_PX, FACE_AT = 320, 96


@pytest.fixture(scope="module")
def photo() -> U8:
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(60, 200, (40, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def draw_points() -> F32:
    points = drawn_face.points().copy()
    points[:, :2] += FACE_AT
    return points


def build_frames(photo: U8, count: int, valid: bool = True) -> list[LipFrame]:
    picture, landmarks = from_rgb(photo), draw_points()
    frames = [Frame(picture, k, Fraction(k, 25), Fraction(1, 25)) for k in range(count)]
    faces = [TrackedFace(k, Fraction(k, 25), valid, 0, k == 0, 1.0, None, landmarks) for k in range(count)]
    status = GENERATED if valid else NO_FACE
    return [LipFrame(f, (FaceStatus(face, status, 1.0),)) for f, face in zip(frames, faces, strict=True)]


def animate(photo: U8, count: int, seed: int | None = None) -> list[U8]:
    return [lip_frame.frame.rgb() for lip_frame in animate_photo(build_frames(photo, count), seed)]


def test_the_head_moves_a_little_and_the_edge_of_the_picture_does_not(photo: U8) -> None:
    frames = animate(photo, 100)
    own = build_frames(photo, 1)[0].frame.rgb().astype(int)
    assert np.abs(frames[0] - own).mean() < 1
    change = np.abs(np.stack(frames[25:]) - own).max(axis=(0, 3))
    middle = SIZE_PX // 2
    assert change[middle - 40 : middle + 40, middle - 40 : middle + 40].max() > 20
    assert not change[[0, 1, -2, -1]].any()
    assert not change[:, [0, 1, -2, -1]].any()


def test_frames_follow_each_other_smoothly(photo: U8) -> None:
    motion = PhotoMotion(build_frames(photo, 1)[0].frame, draw_points(), seed=1)
    smooth = np.kron(np.linspace(0, 255, SIZE_PX), np.ones((SIZE_PX, 1)))[..., None].repeat(3, axis=2).astype(np.uint8)
    ramp = from_rgb(smooth)
    columns = (
        np.stack(
            [motion.apply(Frame(ramp, k, Fraction(k, 25), Fraction(1, 25))).rgb()[160, 120:200, 0] for k in range(250)]
        ).astype(float)
        * SIZE_PX
        / 255
    )
    shifts_px = (columns - columns[0]).mean(axis=1)
    assert 0.3 < np.abs(shifts_px).max() < 6
    assert np.abs(np.diff(shifts_px)).max() < 0.5


def test_the_same_photo_moves_the_same_way(photo: U8) -> None:
    frames = animate(photo, 30)
    assert np.array_equal(frames[-1], animate(photo, 30)[-1])
    assert not np.array_equal(frames[-1], animate(photo, 30, seed=5)[-1])


def test_without_a_face_nothing_moves(photo: U8) -> None:
    frames = build_frames(photo, 3, valid=False)
    assert all(a is b for a, b in zip(frames, animate_photo(frames), strict=True))


def test_blinks_are_as_often_and_as_long_as_people_blink(photo: U8) -> None:
    motion = PhotoMotion(build_frames(photo, 1)[0].frame, draw_points(), seed=3)
    closure = np.array([motion._compute_closure(k / 100) for k in range(60_000)])
    edges = np.flatnonzero(np.diff((closure > 0).astype(int)))
    starts, ends = edges[::2] / 100, edges[1::2] / 100
    assert 15 <= len(starts) / 10 <= 20  # a minute
    assert np.diff(starts).std() > 0.8
    assert ends - starts[: len(ends)] == pytest.approx(CLOSE_S + SHUT_S + OPEN_S, abs=0.03)
    assert closure.max() == 1.0
    assert np.abs(np.diff(closure)).max() < 0.15
