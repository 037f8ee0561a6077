"""The JSON of a track, and the drawings."""

import json
from fractions import Fraction

import numpy as np
import pytest
from face_scenes import run

from cals.errors import DataError
from cals.face.detector import BlazeFaceMesh
from cals.face.draw import draw_track, render_contact_sheet
from cals.face.record import face_from_record, face_to_record
from cals.face.tracker import FaceTracker
from cals.types import U8, TrackedFace

ABSENT = TrackedFace(
    index=7,
    time_s=Fraction(1001, 30000),
    valid=False,
    track=2,
    cut=True,
    score=0.0,
    box=None,
    landmarks=np.zeros((0, 3), np.float32),
)


@pytest.fixture(scope="module")
def face(detector: BlazeFaceMesh, portrait: U8) -> TrackedFace:
    return run(FaceTracker(detector), [portrait])[0]


@pytest.mark.parametrize("is_absent", [False, True])
def test_round_trip_through_json(face: TrackedFace, is_absent: bool) -> None:
    one = ABSENT if is_absent else face
    other = face_from_record(json.loads(json.dumps(face_to_record(one))))
    for name in ("index", "time_s", "valid", "track", "cut", "box"):
        assert getattr(one, name) == getattr(other, name), name
    assert other.score == pytest.approx(one.score, abs=1e-4)
    assert other.landmarks.shape == one.landmarks.shape
    np.testing.assert_allclose(other.landmarks, one.landmarks, atol=0.00501)


def test_absence_and_exact_time_are_explicit() -> None:
    record = face_to_record(ABSENT)
    assert record["landmarks"] is None
    assert record["box"] is None
    assert record["time"] == "1001/30000"
    assert record["time_s"] == pytest.approx(0.0333667, abs=1e-6)


@pytest.mark.parametrize("change", [{"time": "soon"}, {"landmarks": [[1, 2]] * 2}, {"box": [1, 2]}, {"score": None}])
def test_malformed_records_are_refused(face: TrackedFace, change: dict[str, object]) -> None:
    record = face_to_record(face) | change
    with pytest.raises(DataError, match="cals track"):
        face_from_record(record)
    del record["valid"]
    with pytest.raises(DataError):
        face_from_record(record)


def test_drawing_marks_the_face_and_leaves_the_picture_alone(face: TrackedFace, portrait: U8) -> None:
    before = portrait.copy()
    drawn = draw_track(portrait, face)
    np.testing.assert_array_equal(portrait, before)
    changed = (drawn != portrait).any(axis=2)
    assert face.box is not None
    inside = changed[face.box.y0 : face.box.y1, face.box.x0 : face.box.x1]
    assert inside.mean() > 0.05
    assert not changed[300:].any()
    assert (draw_track(portrait, ABSENT) != portrait).any()


def test_contact_sheet_lays_out_in_rows() -> None:
    images = [np.full((20, 30, 3), v, np.uint8) for v in (10, 20, 30)]
    sheet = render_contact_sheet(images, columns=2)
    assert sheet.shape == (2 * 24 + 4, 2 * 34 + 4, 3)
    assert sheet[14, 19, 0] == 10
    assert sheet[14, 53, 0] == 20
    assert sheet[38, 19, 0] == 30
    assert sheet[38, 53, 0] == 255


def test_contact_sheet_shrinks_and_labels() -> None:
    sheet = render_contact_sheet([np.zeros((20, 60, 3), np.uint8), np.zeros((40, 120, 3), np.uint8)], 2, ["a", "b"])
    assert sheet.shape == (28, 132, 3)
    assert sheet[4:24, 4:64].max() > 128
    with pytest.raises(ValueError, match="2 labels"):
        render_contact_sheet([np.zeros((20, 60, 3), np.uint8)] * 2, 2, ["a"])
