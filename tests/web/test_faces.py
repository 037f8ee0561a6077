"""The first picture with a face, and every face in it."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from cals import hub
from cals.errors import CheckpointError, NoFaceError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.media.reader import VideoReader
from cals.web.faces import find_first_faces
from drawing import write_video

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def detector() -> BlazeFaceMesh:
    try:
        return BlazeFaceMesh(FaceModels(*hub.read_face_models(None)))
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")


def test_the_first_picture_with_faces_is_taken(detector: BlazeFaceMesh, tmp_path: Path) -> None:
    with VideoReader(PHOTO) as reader:
        face = cv2.resize(next(iter(reader)).rgb()[:270, 90:360], (160, 160))
    both = np.hstack([face, face]).astype(np.uint8)
    frames = [np.full_like(both, 90)] * 20 + [both] * 10
    path = write_video(tmp_path / "late.mp4", frames=frames, size=(320, 160))
    faces = find_first_faces(path, detector, tmp_path)
    assert faces.names == ["Face 1", "Face 2"]
    assert faces.boxes[0].x1 < 160 < faces.boxes[1].x0
    assert faces.time_s == Fraction(26, 25)  # searched at 0, 0.52 and 1.04 s
    assert faces.get_person("Face 1").endswith("@1.04")
    assert cv2.imread(str(faces.still)).shape == (160, 320, 3)


def test_a_photo_has_no_length(detector: BlazeFaceMesh, tmp_path: Path) -> None:
    faces = find_first_faces(PHOTO, detector, tmp_path)
    assert faces.is_photo
    assert faces.duration_s is None
    assert faces.get_person("Face 1") == "largest"


def test_no_face_is_told(detector: BlazeFaceMesh, tmp_path: Path) -> None:
    path = write_video(tmp_path / "empty.mp4", frames=20)
    with pytest.raises(NoFaceError, match="empty.mp4: expected a face, found none"):
        find_first_faces(path, detector, tmp_path)
