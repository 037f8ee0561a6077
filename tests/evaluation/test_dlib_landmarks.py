"""dlib's predictor: one that is trained here on drawn faces finds their mouths; other files are refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import drawn_face
from cals.errors import CheckpointError
from cals.evaluation.dlib_landmarks import BOX_PX, DlibPredictor
from cals.face.landmarks import MOUTH_68, N_POINTS

dlib = pytest.importorskip("dlib", reason="dlib is not installed (pip install dlib-bin)")
POINTS = [*[p for p in range(N_POINTS) if p not in MOUTH_68][:48], *MOUTH_68]


def train(path: Path, points: list[int]) -> None:
    """A predictor of these mesh points, of mouths open by 0 to 16 px, in pictures of four times the size."""
    pictures, faces = [], []
    for opening in range(17):
        mesh = drawn_face.points(opening)
        pictures.append(cv2.resize(drawn_face.picture(mesh), (512, 512), interpolation=cv2.INTER_CUBIC))
        parts = [dlib.point(*map(round, 4 * (mesh[p, :2].astype(float) + 0.5) - 0.5)) for p in points]
        faces.append([dlib.full_object_detection(dlib.rectangle(*(4 * edge for edge in BOX_PX)), parts)])
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level, options.oversampling_amount = 5, 40, 5
    options.nu, options.num_threads = 0.5, 1
    dlib.train_shape_predictor(pictures, faces, options).save(str(path))


def test_mouths_are_found_in_pixels_of_the_crop(tmp_path: Path) -> None:
    train(tmp_path / "68.dat", POINTS)
    meshes = [drawn_face.points(opening) for opening in (0.5, 6.5, 15.5)]
    real = np.stack([mesh[list(MOUTH_68), :2] for mesh in meshes])
    result = DlibPredictor(tmp_path / "68.dat").predict_mouths(np.stack([drawn_face.picture(mesh) for mesh in meshes]))
    assert result.shape == (3, 20, 2)
    assert np.linalg.norm(result - real, axis=2).mean() < 0.5
    assert np.linalg.norm(result[0] - result[2], axis=1).mean() > 4  # so far lies an open mouth from a closed one


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected dlib's 68-point shape predictor, found something else"):
        DlibPredictor(tmp_path / "none.dat")
    (tmp_path / "text.dat").write_text("no predictor")
    with pytest.raises(CheckpointError, match="found something else"):
        DlibPredictor(tmp_path / "text.dat")
    train(tmp_path / "five.dat", POINTS[:5])
    with pytest.raises(CheckpointError, match="a predictor of 68 points, found 5"):
        DlibPredictor(tmp_path / "five.dat")
