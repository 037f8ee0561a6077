"""Heads are measured for what they are: models that cheat in a known way score so."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cals.checkpoint import save_checkpoint
from cals.cli import main
from cals.data.segments import encode_crops
from cals.data.shards import Sample, write_shard
from cals.data.store import ClipStore
from cals.evaluation.heads import HeadClip, HeadReport, measure_head
from cals.face.align import Aligner, sample_crop
from cals.face.detector import BlazeFaceMesh
from cals.face.picture import ArrayPicture
from cals.face.tracker import FaceTracker
from cals.features.mel import MelConfig
from cals.models.audio2head import Audio2Head, Audio2HeadConfig
from cals.models.factory import to_checkpoint
from cals.models.lips import Faces, Gallery
from cals.models.pcavs import PCAVS, PCAVSConfig
from cals.models.sync import SyncConfig
from cals.types import F32, U8

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
CONTENT, FRAMES = SyncConfig(width=4, embedding=16), 30
PLAIN = PCAVSConfig(content=CONTENT, identity=16, style=16, encoder_width=2, width=2, widest=16)


def squeeze_mouth(photo: U8, seed: int) -> list[U8]:
    """The photo narrower and lower by turns, which reads as a head that turns and nods."""
    steps = np.cumsum(np.random.default_rng(seed).normal(size=(FRAMES, 2)), axis=0)
    shares = 0.12 * np.tanh(steps / 3)
    rows, columns = np.mgrid[0:128, 0:128].astype(np.float32) - 64
    return [
        cv2.remap(photo, columns * (1 + s) + 64 + 40 * s * (columns / 64) ** 2, rows * (1 + n) + 64, cv2.INTER_LINEAR)
        for s, n in shares.astype(np.float32)
    ]


def read(pictures: list[U8], detector: BlazeFaceMesh, at: F32) -> F32:
    from cals.face.mesh_fit import fit_mesh, region_of_landmarks

    return np.stack(
        [fit_mesh(detector, ArrayPicture(picture), region_of_landmarks(at)).landmarks for picture in pictures]
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, detector: BlazeFaceMesh) -> Path:
    """Two clips of one face that moves in either its own way."""
    photo = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)
    face = FaceTracker(detector).update(ArrayPicture(photo), Fraction(0), 0)
    transform = Aligner().update(face)
    cut, at = sample_crop(ArrayPicture(photo), transform), transform.map_landmarks(face.landmarks)
    folder, samples = tmp_path_factory.mktemp("corpus"), []
    for seed, name in enumerate(("anna", "bert")):
        pictures = squeeze_mouth(cut, seed)
        samples.append(
            Sample(
                key=f"{name}-0",
                crops=encode_crops(pictures, 25),
                wav=np.random.default_rng(seed).normal(0, 0.1, 640 * FRAMES).astype(np.float32),
                landmarks=read(pictures, detector, at).astype(np.float16),
                facts={"clip": f"{name}/0", "speaker": name, "frames": FRAMES, "words": None},
            )
        )
    write_shard(folder / "shard-00000.tar", samples)
    lines = [json.dumps({"key": s.key, "shard": "shard-00000.tar"} | s.facts) for s in samples]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "splits.json").write_text(json.dumps({"val_seen": ["anna/0", "bert/0"]}))
    return folder


class Mirror(PCAVS):
    """Shows the pose source as it is."""

    def render(self, units: torch.Tensor, faces: Faces, gallery: Gallery) -> torch.Tensor:
        return faces.crops


class Photo(PCAVS):
    """Shows the reference as it is."""

    def render(self, units: torch.Tensor, faces: Faces, gallery: Gallery) -> torch.Tensor:
        return gallery.crops.expand(len(units), -1, -1, -1)


def test_who_follows_the_pose_and_who_keeps_still(corpus: Path, detector: BlazeFaceMesh) -> None:
    store = ClipStore(corpus, MelConfig())
    _, follows = measure_head(Mirror(PLAIN).eval(), store[0], store[1], detector)
    drawn, stands = measure_head(Photo(PLAIN).eval(), store[0], store[1], detector)
    assert follows["yaw"] > 0.7
    assert follows["pitch"] > 0.7
    assert stands["yaw"] == stands["pitch"] == 0
    assert stands["span"] == pytest.approx(0, abs=1e-6)
    assert stands["identity"] > 0.9
    assert (drawn == drawn[0]).all()
    assert min(follows["mesh"], stands["mesh"]) > 0.9


def test_a_head_that_stands_still_has_no_span(corpus: Path, detector: BlazeFaceMesh) -> None:
    torch.manual_seed(0)
    model = Audio2Head(Audio2HeadConfig(content=CONTENT, lstm=8, layers=1, hidden=16, width=4, blocks=1)).eval()
    torch.nn.init.zeros_(model.motion.head.weight)
    torch.nn.init.zeros_(model.motion.head.bias)
    model.motion.trust.data.fill_(50.0)  # all is warped, nothing drawn
    torch.nn.init.normal_(model.head.head.weight)
    store = ClipStore(corpus, MelConfig())
    result = []
    for spread in (0.0, 0.2):
        model.head.spread.fill_(0.0)
        model.head.spread[0] = spread
        result.append(measure_head(model, store[0], store[1], detector)[1])
    assert result[0]["yaw_span"] == pytest.approx(0, abs=1e-6)
    assert result[0]["jitter"] == 0
    assert result[1]["yaw_span"] > 0.05
    assert result[0]["identity"] > 0.9


def test_the_command_writes_what_it_prints(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], detector: BlazeFaceMesh
) -> None:
    save_checkpoint(tmp_path / "model", to_checkpoint(PCAVS(PLAIN)))
    out, splits = tmp_path / "out", str(corpus / "splits.json")
    arguments = ["evaluate", "heads", str(corpus), "--splits", splits, "--parts", "val_seen", "--out", str(out)]
    main([*arguments, "--model", str(tmp_path / "model")])
    document: dict[str, Any] = json.loads((out / "heads.json").read_text())
    assert [(clip["clip"], clip["posed_by"]) for clip in document["clips"]] == [
        ("anna-0", "bert-0"),
        ("bert-0", "anna-0"),
    ]
    scores = [clip["scores"]["identity"] for clip in document["clips"]]
    assert document["means"]["val_seen"]["identity"] == pytest.approx(np.mean(scores), abs=1e-4)
    assert f"| identity | {document['means']['val_seen']['identity']:.3f} |" in capsys.readouterr().out
    assert cv2.imread(str(out / "heads.png")) is not None
    for model, says in (("debug", "expected a model of PC-AVS or Audio2Head, found debug"),):
        with pytest.raises(SystemExit, match="1"):
            main([*arguments, "--model", model, "--force"])
        assert says in " ".join(capsys.readouterr().err.split())


def test_means_leave_out_what_is_not_known() -> None:
    rows = [("a", 0.5), ("b", float("nan")), ("c", 1.0)]
    clips = [HeadClip(part="seen", clip=name, posed_by="", scores={"yaw_span": value}) for name, value in rows]
    assert HeadReport(model="m", clips=clips).average_scores() == {"seen": {"yaw_span": 0.75}}
