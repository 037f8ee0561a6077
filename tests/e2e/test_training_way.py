"""The whole way as a newcomer goes it: videos of two people, a corpus, three stages of training, a model, a video."""

import json
import re
import shlex
from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cals import hub
from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.cli import main
from cals.data.shards import read_shard
from cals.errors import CheckpointError
from cals.face.align import Aligner
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.landmarks import MOUTH_INNER, MOUTH_OUTER, measure_mouth_opening
from cals.face.picture import ArrayPicture
from cals.face.tracker import FaceTracker
from cals.media.reader import VideoReader
from cals.models.factory import build_frozen
from cals.models.sync import SyncModel
from cals.nn.warp import compute_source_grid, draw_triangles, sample_grid, triangulate
from cals.training import loop
from cals.types import F32, U8
from drawing import write_video, write_wav

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "astronaut.jpg"
SIZE, FRAMES = 320, 50


def detect_landmarks(face: U8) -> F32:
    """Detect the tracker's mesh [468 3] in a picture."""
    try:
        models = FaceModels(*hub.read_face_models())
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")
    result = FaceTracker(BlazeFaceMesh(models)).update(ArrayPicture(face), Fraction(0), 0)
    assert result.valid
    return result.landmarks


def open_mouth(landmarks: F32, openings: np.ndarray) -> torch.Tensor:
    """Return mesh points [t 468 2] with the lower lip and the jaw lower by `openings` [t] in pixels."""
    points = landmarks[:, :2].astype(np.float64)
    mouth = points[list(MOUTH_INNER)]
    middle, half = mouth.mean(axis=0), np.ptp(mouth[:, 0]) / 2
    lips = np.isin(np.arange(len(points)), [*MOUTH_OUTER[11:], *MOUTH_INNER[11:]])
    below = (points[:, 1] > points[17, 1] - 1) | lips
    reach = np.clip(1 - ((points[:, 0] - middle[0]) / (1.4 * half)) ** 2, 0, 1) * below
    result = np.tile(points, (len(openings), 1, 1))
    result[..., 1] += openings[:, None] * reach
    return torch.from_numpy(result).float()


def draw_speech(photo: U8, seed: int) -> tuple[list[U8], F32]:
    """Draw pictures of the face whose mouth opens with the loudness, and the sound [1 n] at 16 kHz."""
    rng = np.random.default_rng(seed)
    steps = np.convolve(rng.normal(size=FRAMES + 4), np.ones(5) / 5, mode="valid")[:FRAMES]
    level = np.clip(1.5 * steps + 0.5, 0.02, 1)
    landmarks = detect_landmarks(photo)
    frame = [[x, y] for y in (1, SIZE // 2, SIZE - 1) for x in (1, SIZE // 2, SIZE - 1) if (x, y) != (SIZE // 2,) * 2]
    border = torch.tensor(frame, dtype=torch.float32)
    before = torch.cat([torch.from_numpy(landmarks[:, :2]), border])[None]
    triangles = torch.from_numpy(triangulate(before[0].numpy()))
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    pictures = []
    for points in open_mouth(landmarks, 12 * level):
        after = torch.cat([points, border])[None]
        triangle_map = draw_triangles(after, triangles, SIZE, SIZE)
        image = sample_grid(pixels, compute_source_grid(after, before, triangles, triangle_map))[0]
        pictures.append(image.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy())
    time_s = np.arange(640 * FRAMES) / 16_000
    voice = sum(np.sin(2 * np.pi * (150 + 20 * seed) * k * time_s) / k for k in range(1, 12))
    wav = 0.3 * voice * np.interp(time_s, (np.arange(FRAMES) + 0.5) / 25, level) + rng.normal(0, 1e-3, len(time_s))
    return pictures, wav[None].astype(np.float32)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips each of two people: the astronaut, and her darker mirror image."""
    root = tmp_path_factory.mktemp("raw")
    with VideoReader(PHOTO) as reader:
        photo = next(reader).rgb()[:SIZE, 64 : 64 + SIZE]
    mirrored = np.ascontiguousarray((photo[:, ::-1] * (0.7, 0.75, 0.8)).astype(np.uint8))
    for seed, (speaker, face) in enumerate((("anna", photo), ("anna", photo), ("bert", mirrored), ("bert", mirrored))):
        pictures, sound = draw_speech(np.ascontiguousarray(face), seed)
        path = root / speaker / f"clip{seed}.mp4"
        path.parent.mkdir(exist_ok=True)
        options = {"crf": "12", "preset": "veryfast"}
        write_video(path, frames=pictures, size=(SIZE, SIZE), options=options, sound=sound, sound_rate_hz=16_000)
        write_wav(path.with_suffix(".wav"), sound)
    return root


def read_commands(raw: Path) -> list[list[str]]:
    """Return the commands at the start of docs/training.md, with our videos and the presets that take seconds."""
    block = re.search(
        r"^```console\n(.*?)^```", (ROOT / "docs" / "training.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    assert block is not None
    lines = [line.removeprefix("$ cals ") for line in block[1].splitlines()]
    return [shlex.split(line.replace("my-videos", f"'{raw}'").replace("-grid-small", "-debug")) for line in lines]


@pytest.fixture(scope="module")
def way(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with corpus, runs and the bundled model that those commands made, one after another."""
    home = tmp_path_factory.mktemp("way")
    prepare, sync, a2l, l2f = read_commands(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        main([*prepare, "--workers", "1"])
        main(sync)
        main(a2l)
        with pytest.MonkeyPatch.context() as clock:  # one second at every look at it
            clock.setattr(loop, "time", SimpleNamespace(monotonic=count().__next__))
            main([*l2f, "--max-minutes", "0.2"])
        (home / "first.json").write_text((home / "runs" / "l2f" / "state" / "state.json").read_text())
        main(l2f)
        main(["models", "bundle", "runs/l2f/model", "--out", "ours", "--sync", "runs/sync/model"])
        yield home


def test_the_corpus_holds_what_was_drawn(way: Path) -> None:
    summary = json.loads((way / "corpus" / "summary.json").read_text())
    assert (summary["samples"], summary["frames"]) == (4, 4 * FRAMES)
    assert set(summary["offsets"]) == {"anna", "bert"}
    for sample in read_shard(way / "corpus" / "shard-00000.tar"):
        openings = [measure_mouth_opening(points.astype(np.float32)) for points in sample.landmarks]
        assert np.ptp(openings) > 0.03
        assert sample.facts["sync_correlation"] > 0.5


def test_training_was_stopped_and_went_on(way: Path) -> None:
    first = json.loads((way / "first.json").read_text())["step"]
    assert 0 < first < 20
    lines = [json.loads(line) for line in (way / "runs" / "l2f" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "start"] == [0, first]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [5, 10, 15, 20]
    checkpoint = load_checkpoint(way / "runs" / "l2f" / "model")
    assert (checkpoint.kind, checkpoint.step) == ("mesh", 20)
    assert checkpoint.parents == {
        part: compute_weights_sha256(way / "runs" / part / "model") for part in ("sync", "a2l")
    }


def test_the_bundle_is_small_and_whole(way: Path) -> None:
    trained, bundle = load_checkpoint(way / "runs" / "l2f" / "model"), load_checkpoint(way / "ours")
    assert (bundle.kind, bundle.config, bundle.step, bundle.parents) == (
        trained.kind,
        trained.config,
        20,
        trained.parents,
    )
    for name, value in trained.weights.items():
        if value.is_floating_point():
            torch.testing.assert_close(bundle.weights[name].float(), value, rtol=1e-3, atol=1e-4)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (way / "ours", way / "runs" / "l2f" / "model")]
    assert sizes[0] < sizes[1]
    build_frozen(SyncModel, load_checkpoint(way / "ours" / "sync"))
    assert "consent" in (way / "ours" / "README.md").read_text()


@pytest.mark.parametrize("face", ["video", "photo"])
def test_the_model_makes_them_speak(way: Path, raw: Path, tmp_path: Path, face: str) -> None:
    video, out, report = raw / "anna" / "clip0.mp4", tmp_path / "out.mp4", tmp_path / "report.json"
    source = video if face == "video" else PHOTO
    arguments = ["generate", "--face", str(source), "--audio", str(raw / "bert" / "clip3.wav"), "--out", str(out)]
    main([*arguments, "--model", str(way / "ours"), "--report", str(report)])
    document = json.loads(report.read_text())
    assert (document["frames"], document["generated"]) == (FRAMES, FRAMES)
    assert document["model"].startswith(f"ours ({compute_weights_sha256(way / 'ours')[:12]}")
    with VideoReader(source) as before, VideoReader(out) as after:
        originals = [frame.rgb().astype(int) for frame in before]
        originals = originals if face == "video" else originals * FRAMES
        changes = [np.abs(frame.rgb() - old) for frame, old in zip(after, originals, strict=True)]
    tracker, aligner = FaceTracker(BlazeFaceMesh(FaceModels(*hub.read_face_models()))), Aligner()
    tracked_face = tracker.update(ArrayPicture(originals[0].astype(np.uint8)), Fraction(0), 0)
    mouth = tracked_face.landmarks[list(MOUTH_OUTER), :2]
    (x0, y0), (x1, y1) = mouth.min(axis=0).astype(int), mouth.max(axis=0).astype(int)
    mean = np.mean(changes, axis=(0, 3))
    eyes_px = int(aligner.update(tracked_face).to_frame(np.array([[64.0, 34.0]]))[0, 1])
    loss = mean[: eyes_px + 5].mean()
    assert loss < 2.5  # only the encoder's own
    # So little trained a network says little: over a photo's mouth, while a video's gives way to it all the same.
    assert mean[y0:y1, x0:x1].mean() > (4 if face == "video" else 1.2 * loss)
