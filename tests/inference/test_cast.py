"""Several persons of one video are followed in step, and none takes another's face."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from cals import hub
from cals.errors import ConfigError, NoFaceError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.inference.cast import Cast
from cals.media.reader import VideoReader
from cals.media.source import ArraySource
from cals.types import U8

EXAMPLES = Path(__file__).parents[2] / "examples"
SIDE = 256


@pytest.fixture(scope="module")
def detector() -> BlazeFaceMesh:
    return BlazeFaceMesh(FaceModels(*hub.read_face_models(None)))


@pytest.fixture(scope="module")
def faces() -> dict[str, U8]:
    """Two real faces, each in a picture of its own."""
    pictures = {}
    for name, file, (x, y, size) in (("a", "astronaut.jpg", (90, 0, 270)), ("b", "grid-s20.mp4", (60, 20, 240))):
        with VideoReader(EXAMPLES / file) as reader:
            rgb = next(iter(reader)).rgb()
        pictures[name] = np.asarray(cv2.resize(rgb[y : y + size, x : x + size], (SIDE, SIDE)), np.uint8)
    pictures["-"] = np.full((SIDE, SIDE, 3), 90, np.uint8)
    return pictures


def build_source(faces: dict[str, U8], shots: Sequence[tuple[str, int]]) -> ArraySource:
    """Build a video of two halves: each shot names who is in them, and its length in frames."""
    frames = [np.hstack([faces[name] for name in names]) for names, count in shots for _ in range(count)]
    return ArraySource(frames, [k / 25 for k in range(len(frames))])


def track(
    source: ArraySource, people: list[str | int], detector: BlazeFaceMesh, *, is_exclusive: bool = True
) -> list[tuple[str, ...]]:
    """Return for each frame in which half each person is: L, R or - for nowhere."""
    cast = Cast(source, people, detector, 128, "keep", is_exclusive=is_exclusive)
    for ahead in cast.look_ahead():
        list(ahead)
    with source.open() as frames:
        rows = []
        for items in cast.track(frames):
            boxes = [item.face.box for item in items]
            rows.append(tuple("-" if box is None else "LR"[(box.x0 + box.x1) / 2 > SIDE] for box in boxes))
    cast.require_faces()
    return rows


def test_everyone_keeps_their_face_across_cuts(detector: BlazeFaceMesh, faces: dict[str, U8]) -> None:
    rows = track(build_source(faces, [("ab", 6), ("ba", 6), ("-a", 6)]), [1, 2], detector)
    assert set(rows[:6]) == {("L", "R")}
    assert set(rows[6:12]) == {("R", "L")}
    assert set(rows[12:]) == {("R", "-")}  # nobody speaks from another's face


def test_a_stranger_is_followed_only_where_that_is_meant(detector: BlazeFaceMesh, faces: dict[str, U8]) -> None:
    source = build_source(faces, [("a-", 6), ("-b", 6), ("-a", 6)])
    assert [row[0] for row in track(source, [1], detector)][5::6] == ["L", "-", "R"]
    assert [row[0] for row in track(source, [1], detector, is_exclusive=False)][5::6] == ["L", "R", "R"]


def test_frames_are_as_with_one_person_each(detector: BlazeFaceMesh, faces: dict[str, U8]) -> None:
    source = build_source(faces, [("ab", 8)])
    both = track(source, [1, 2], detector)
    assert [row[0] for row in both] == [row[0] for row in track(source, [1], detector)]
    assert [row[1] for row in both] == [row[0] for row in track(source, ["right"], detector)]


def test_two_names_of_one_face_are_an_error(detector: BlazeFaceMesh, faces: dict[str, U8]) -> None:
    with pytest.raises(ConfigError, match="a face each for the persons 'left' and '1'"):
        track(build_source(faces, [("ab", 3)]), ["left", 1], detector)


def test_a_person_who_never_appears_is_an_error(detector: BlazeFaceMesh, faces: dict[str, U8]) -> None:
    with pytest.raises(NoFaceError, match="expected the person '3', found at most 2"):
        track(build_source(faces, [("ab", 3)]), [1, 3], detector)


def test_look_ahead_gives_each_their_own_frames(detector: BlazeFaceMesh, faces: dict[str, U8]) -> None:
    cast = Cast(build_source(faces, [("ab", 5)]), [2, 1], detector, 128, "keep")
    right, left = ([item.face.box for item in ahead] for ahead in cast.look_ahead())
    assert len(right) == len(left) == 5
    assert all(box is not None and box.x0 >= SIDE - 40 for box in right)
    assert all(box is not None and box.x1 <= SIDE + 40 for box in left)
