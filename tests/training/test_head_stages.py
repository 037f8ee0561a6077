"""Stages of whole heads on the synthetic corpus: trained by the command, stopped, resumed, used to generate."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cals import LipSync
from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.cli import main
from cals.data.store import ClipStore
from cals.data.windows import MIN_REFERENCE_DISTANCE
from cals.errors import ConfigError, DataError
from cals.features.mel import MelConfig
from cals.media.reader import VideoReader
from cals.models.audio2head import Audio2Head
from cals.models.head import estimate_head_pose
from cals.training import run as run_module
from cals.training.heads import MIDDLE, sample_heads
from cals.training.loop import RunOptions
from cals.training.presets import L2F
from cals.training.run import Corpus, train_l2f_stage
from cals.training.stage import Stage
from cals.training.stages.audio2head import Audio2HeadStage, Audio2HeadStageConfig
from cals.training.stages.pcavs import PCAVSStage, PCAVSStageConfig
from drawing import write_video
from training.conftest import PLAIN

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO, SPEECH = EXAMPLES / "astronaut.jpg", EXAMPLES / "speech.wav"
PRESETS = ("l2f-debug-pcavs", "l2f-debug-audio2head")
TERMS = {
    "pcavs": {"recon", "contrast", "gan", "match"},
    "audio2head": {"recon", "keypoints", "follow", "near", "gan", "match"},
}
METRICS = {"pcavs": "found", "audio2head": "still_keypoints"}
HeadConfig = PCAVSStageConfig | Audio2HeadStageConfig


def settings(name: str) -> HeadConfig:
    config = L2F[name]
    assert isinstance(config, HeadConfig)
    return config


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.fixture(scope="module", params=PRESETS)
def trained(
    request: pytest.FixtureRequest, corpus: Path, sync_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """Train a system by the command; returns its name and run."""
    run = tmp_path_factory.mktemp("runs") / request.param
    arguments = ["train", "l2f", request.param, "--corpus", str(corpus), "--splits", str(corpus / "splits.json")]
    main([*arguments, "--run", str(run), "--sync", str(sync_run / "model")])
    return request.param.rpartition("-")[2], run


@pytest.fixture(params=PRESETS)
def head_stage(request: pytest.FixtureRequest, corpus: Path, sync_run: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Build a preset's stage as the command does, without audio augmentation."""
    stages: list[Stage] = []
    monkeypatch.setattr(run_module, "train", lambda stage, *_: stages.append(stage))
    pure = {name: PLAIN[name] for name in ("voice", "room")}
    config = dataclasses.replace(settings(request.param), **pure)
    train_l2f_stage(config, Corpus(folder=corpus), sync_run / "model", None, RunOptions(run=corpus / "none"))
    return stages[0]


def test_a_run_leaves_a_whole_model(trained: tuple[str, Path], sync_run: Path) -> None:
    kind, run = trained
    checkpoint = load_checkpoint(run / "model")
    assert (checkpoint.kind, checkpoint.step) == (kind, 20)
    assert checkpoint.parents == {"sync": compute_weights_sha256(sync_run / "model")}
    losses, metrics = read_log(run, "train")[-1], read_log(run, "validation")[-1]
    assert TERMS[kind] <= losses.keys()
    assert losses["total"] == pytest.approx(sum(losses[term] for term in TERMS[kind]), rel=1e-4)
    assert np.isfinite(losses["critic_total"])
    wanted = ("l1", "copy_l1", "lower_l1", "copy_lower_l1", METRICS[kind])
    assert {f"{part}_{name}" for part in ("seen", "unseen") for name in wanted} <= metrics.keys()
    for part in ("seen", "unseen"):
        sheet = cv2.imread(str(run / f"sheet-{part}.png"))
        assert sheet is not None
        assert sheet.std() > 5


def test_every_weight_that_learns_has_a_gradient(head_stage: Stage) -> None:
    head_stage.step = 1
    head_stage.compute_losses(head_stage.model, np.random.default_rng(0), CPU)["total"].backward()
    idle = [
        name for name, weight in head_stage.model.named_parameters() if weight.requires_grad and weight.grad is None
    ]
    assert idle == []
    grouped = [id(p) for group in head_stage.build_parameter_groups() for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in head_stage.model.parameters() if p.requires_grad)


def test_a_few_windows_are_learnt(head_stage: Stage) -> None:
    optimizer = torch.optim.Adam([p for p in head_stage.model.parameters() if p.requires_grad], lr=5e-3)
    found = []
    for _ in range(40):
        losses = head_stage.compute_losses(head_stage.model, np.random.default_rng(0), CPU)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        found.append({name: value.item() for name, value in losses.items()})
    term = "recon" if isinstance(head_stage, PCAVSStage) else "keypoints"
    assert found[-1][term] < 0.85 * found[0][term]
    assert found[-1]["total"] < 0.95 * found[0]["total"]


@pytest.mark.parametrize("name", PRESETS)
def test_resumed_training_is_the_same_training(name: str, corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    hasty = dataclasses.replace(settings(name).train, steps=6, log_every=1, validate_every=6, checkpoint_every_s=0.0)
    config = dataclasses.replace(settings(name), train=hasty)

    def go(run: Path, stop_at: int | None = None) -> None:
        def stop(done: int, total: int | None) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        options = RunOptions(run=run, accelerator="cpu")
        train_l2f_stage(config, Corpus(folder=corpus), sync_run / "model", None, options, stop)

    go(tmp_path / "through")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "resumed", stop_at=3)
    go(tmp_path / "resumed")
    through, resumed = read_log(tmp_path / "through", "train"), read_log(tmp_path / "resumed", "train")
    assert [line["step"] for line in resumed] == list(range(1, 7))
    for one, other in zip(through, resumed, strict=True):
        assert one.pop("kind") == other.pop("kind")
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6)
    assert compute_weights_sha256(tmp_path / "through" / "model") == compute_weights_sha256(
        tmp_path / "resumed" / "model"
    )


def test_references_are_of_the_same_clip_and_far_enough(corpus: Path) -> None:
    store = ClipStore(corpus, MelConfig())
    batch = sample_heads(store, np.random.default_rng(0), CPU, clips=4, per_clip=3, step=4, crop_px=128)
    assert batch.windows.shape == (12, 5, 3, 128, 128)
    assert batch.sound.shape == (12, 20, 80)
    places = []
    for target, other, points in zip(batch.target, batch.reference, batch.landmarks, strict=True):
        found = [
            (clip, int(place))
            for picture in (target, other)
            for clip in range(len(store))
            for place in np.flatnonzero(
                (store[clip].crops == (picture * 255).round().byte().permute(1, 2, 0).numpy()).all(axis=(1, 2, 3))
            )
        ]
        (clip, frame), (same, away) = found[0], found[-1]
        assert clip == same
        assert abs(frame - away) >= MIN_REFERENCE_DISTANCE
        np.testing.assert_array_equal(store[clip].landmarks[frame], points.numpy())
        places.append(frame - MIDDLE)
    assert len(set(places)) > 4
    with pytest.raises(DataError, match="expected crops of 224 px, found 128; prepare it with --crop-px 224"):
        sample_heads(store, np.random.default_rng(0), CPU, clips=1, per_clip=1, step=4, crop_px=224)


@pytest.fixture(scope="module")
def zooming_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a video of the photo's face, alternately smaller and larger."""
    with VideoReader(PHOTO) as reader:
        photo = next(reader).rgb()[:320, 64:384]
    pictures = [
        cv2.resize(photo, None, fx=1, fy=1 - 0.1 * np.sin(i / 3) ** 2, interpolation=cv2.INTER_AREA)[:280]
        for i in range(20)
    ]
    return write_video(tmp_path_factory.mktemp("pose") / "nod.mp4", frames=pictures, size=(320, 280))


def generate(run: Path, face: Path, out: Path, *more: str) -> tuple[int, int, list[np.ndarray]]:
    """Return width, height and frames of the command's output for a face."""
    model = ["--model", str(run / "model"), "--report", str(out.with_suffix(".json"))]
    main(["generate", "--face", str(face), "--audio", str(SPEECH), "--out", str(out), *model, *more])
    with VideoReader(out) as video:
        return video.width, video.height, [frame.rgb().astype(int) for frame in video]


@pytest.fixture
def video(zooming_video: Path) -> Callable[[Path, Path], None]:
    """Check that the faces of a video's frames are replaced at the heads' positions."""

    def check(run: Path, out: Path) -> None:
        width, height, pictures = generate(run, zooming_video, out, "--length", "video")
        assert (width, height, len(pictures)) == (320, 280, 20)
        with VideoReader(zooming_video) as reader:
            change = np.mean([abs(frame.rgb() - new) for frame, new in zip(reader, pictures, strict=True)], axis=(0, 3))
        assert change[150:170, 150:170].mean() > 2 * change[:60].mean()

    return check


@pytest.mark.parametrize("trained", ["l2f-debug-pcavs"], indirect=True)
def test_pcavs_is_pasted_with_its_own_pose_and_is_a_crop_with_another_ones(
    trained: tuple[str, Path], video: Callable[[Path, Path], None], zooming_video: Path, tmp_path: Path
) -> None:
    _, run = trained
    video(run, tmp_path / "video.mp4")
    width, height, _ = generate(run, PHOTO, tmp_path / "photo.mp4")
    with VideoReader(PHOTO) as reader:
        assert (width, height) == (reader.width, reader.height)
    width, height, pictures = generate(run, PHOTO, tmp_path / "posed.mp4", "--pose", str(zooming_video))
    assert (width, height) == (128, 128)
    report = json.loads((tmp_path / "posed.json").read_text())
    assert report["generated"] == report["frames"] == len(pictures)


@pytest.mark.parametrize("trained", ["l2f-debug-pcavs"], indirect=True)
def test_poses_that_cannot_be_taken_are_refused(
    trained: tuple[str, Path], zooming_video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for face, model, says in (
        (zooming_video, str(trained[1] / "model"), "expected a photo as face, found a video"),
        (PHOTO, "debug", "expected a model of PC-AVS or Audio2Head, found debug"),
    ):
        out = ["--out", str(tmp_path / "o.mp4"), "--model", model, "--pose", str(zooming_video)]
        with pytest.raises(SystemExit, match="1"):
            main(["generate", "--face", str(face), "--audio", str(SPEECH), *out])
        assert says in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("trained", ["l2f-debug-audio2head"], indirect=True)
def test_audio2head_is_pasted_into_videos_and_moves_the_heads_of_photos(
    trained: tuple[str, Path], video: Callable[[Path, Path], None], zooming_video: Path, tmp_path: Path
) -> None:
    _, run = trained
    video(run, tmp_path / "video.mp4")
    width, height, pictures = generate(run, PHOTO, tmp_path / "photo.mp4")
    assert (width, height) == (128, 128)
    report = json.loads((tmp_path / "photo.json").read_text())
    assert report["generated"] == report["frames"] == len(pictures)
    assert pictures[0].std() > 20  # the photo's face, warped
    width, height, posed = generate(run, PHOTO, tmp_path / "posed.mp4", "--pose", str(zooming_video))
    assert (width, height, len(posed)) == (128, 128, len(pictures))


def test_a_photos_head_goes_on_where_the_last_batch_left_it(
    trained: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trained[0] != "audio2head":
        return
    rendered: list[torch.Tensor] = []
    draw = Audio2Head.generate

    def spy(model: Audio2Head, units: torch.Tensor, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rendered[-1:] = [torch.cat([*rendered[-1:], given[-1]])]
        return draw(model, units, *given)

    monkeypatch.setattr(Audio2Head, "generate", spy)
    found = []
    for batch in (8, 3):
        rendered[:] = [torch.zeros(0, 6)]
        lips = LipSync(trained[1] / "model", batch=batch)
        assert sum(1 for _ in lips.frames(PHOTO, SPEECH)) == len(rendered[0])
        found.append(rendered[0])
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=0)


def test_head_motion_is_measured_and_cut_with_its_sound(head_stage: Stage, corpus: Path) -> None:
    if not isinstance(head_stage, Audio2HeadStage):
        return
    mel, poses = head_stage._sample_poses(np.random.default_rng(0))
    assert (mel.shape, poses.shape) == ((2, 120, 80), (2, 30, 6))
    store = head_stage._training
    for sound, pose in zip(mel, poses, strict=True):
        places = [
            (clip, start)
            for clip in range(len(store))
            for start in range(store.frames(clip) - 29)
            if torch.equal(store.mel(clip)[4 * start : 4 * (start + 30)], sound)
        ]
        ((clip, start),) = places
        expected = estimate_head_pose(torch.from_numpy(store.landmarks(clip)[start : start + 30]), 128)
        torch.testing.assert_close(pose, expected)
    away = torch.cat([whole - whole.mean(dim=0) for whole in head_stage._poses])
    torch.testing.assert_close(head_stage.model.head.spread, away.std(dim=0).clamp_min(1e-4))


def test_a_mirrored_pose_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="a mirror turns the head"):
        PCAVSStageConfig(pose=dataclasses.replace(PCAVSStageConfig().pose, flip=True))


def test_pcavs_starts_from_the_sync_encoders(head_stage: Stage) -> None:
    if isinstance(head_stage, PCAVSStage):
        for name, value in head_stage._perceptual_losses._sync.state_dict().items():
            torch.testing.assert_close(head_stage.model.content.state_dict()[name], value)
