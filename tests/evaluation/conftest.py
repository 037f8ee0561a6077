"""A drawn corpus: a photo whose mouth opens with the loudness of its sound."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cals import hub
from cals.face.detector import BlazeFaceMesh, FaceModels
from drawing import write_video

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
FRAMES = 48


def talking(path: Path, seed: int, gap: range = range(0)) -> None:
    """The mouth is stretched downwards; no face in `gap`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)[:320, 64:384]
    steps = np.random.default_rng(seed).normal(size=FRAMES + 4)
    level = np.clip(np.convolve(steps, np.ones(5) / 5, mode="valid") * 1.5 + 0.5, 0, 1)
    rows, columns = np.mgrid[0:320, 0:320].astype(np.float32)
    bell = np.exp(-(((rows - 158) / 9) ** 2) - ((columns - 160) / 16) ** 2) * (rows > 146)
    pictures = [
        np.full_like(photo, 90)
        if i in gap
        else cv2.remap(photo, columns, (rows - 14 * level[i] * bell).astype(np.float32), cv2.INTER_LINEAR)
        for i in range(FRAMES)
    ]
    wav = 0.5 * np.sin(2 * np.pi * 220 * np.arange(640 * FRAMES) / 16000) * np.repeat(level, 640)
    write_video(path, frames=pictures, size=(320, 320), options={"crf": "12"}, sound=wav[None], sound_rate_hz=16_000)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of anna, one of bert, and one without a face; `splits.json` lies beside them."""
    root = tmp_path_factory.mktemp("raw")
    talking(root / "anna" / "one.mp4", seed=1)
    talking(root / "anna" / "two.mp4", seed=2, gap=range(3))
    talking(root / "bert" / "one.mp4", seed=3)
    talking(root / "carl" / "gone.mp4", seed=4, gap=range(FRAMES))
    splits = {"train": [], "val_seen": ["anna/one", "anna/two"], "val_unseen": ["bert/one", "carl/gone"]}
    (root / "splits.json").write_text(json.dumps(splits))
    return root


@pytest.fixture(scope="session")
def detector() -> BlazeFaceMesh:
    return BlazeFaceMesh(FaceModels(*hub.read_face_models(None)))
