"""Both kinds of Lip-to-Face on the synthetic corpus: training, resuming, contact sheets, loading, rendering."""

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import drawn_face
from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.cli import main
from cals.data.noises import NoiseAugment
from cals.data.store import ClipStore, load_split_names
from cals.data.windows import ClipBatch, sample_windows
from cals.errors import CheckpointError, ConfigError
from cals.features.mel import MelConfig
from cals.inference.gallery import stack_crops
from cals.inference.load import load_model
from cals.models.cals import MeshLips
from cals.models.lips import Faces, Gallery
from cals.models.mesh import measure_lip_gap
from cals.training import run as run_module
from cals.training.geometry import measure_corpus_mesh, measure_geometry
from cals.training.loop import RunOptions
from cals.training.presets import L2F
from cals.training.run import Corpus, train_l2f
from cals.training.stage import Stage
from cals.training.stages import l2f_mesh
from cals.training.stages.l2f_mesh import MeshStage, MeshStageConfig

pytestmark = pytest.mark.slow

PRESETS = ("l2f-debug", "l2f-debug-unet")
SPEECH = NoiseAugment(mixed=0.0, babble=0.0, alone=0.0)


def read_train_log(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


def read_validation_log(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "validation"]


@pytest.fixture(scope="module", params=PRESETS)
def trained(
    request: pytest.FixtureRequest,
    corpus: Path,
    sync_run: Path,
    a2l_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """Train a preset by the command; returns its name and run."""
    run = tmp_path_factory.mktemp("runs") / request.param
    arguments = ["train", "l2f", request.param, "--corpus", str(corpus), "--splits", str(corpus / "splits.json")]
    main([*arguments, "--run", str(run), "--sync", str(sync_run / "model"), "--a2l", str(a2l_run / "model")])
    return request.param, run


def test_a_run_leaves_a_whole_model(trained: tuple[str, Path], sync_run: Path, a2l_run: Path) -> None:
    name, run = trained
    checkpoint = load_checkpoint(run / "model")
    assert checkpoint.kind == {"l2f-debug": "mesh", "l2f-debug-unet": "unet"}[name]
    assert checkpoint.step == L2F[name].train.steps
    assert checkpoint.parents == {
        "sync": compute_weights_sha256(sync_run / "model"),
        "a2l": compute_weights_sha256(a2l_run / "model"),
    }
    losses, metrics = read_train_log(run)[-1], read_validation_log(run)[-1]
    draws = name == "l2f-debug-unet"
    terms = ("recon", "gan", "d_av", "d_vv") if draws else ("motion", "follow", "appearance", "appearance_follow")
    assert losses["total"] == pytest.approx(sum(losses[term] for term in terms), rel=1e-4)
    assert np.isfinite(losses["total"])
    wanted = ("l1", "copy_l1") if draws else ("opening", "width", "span", "appearance")
    assert {f"{part}_{metric}" for part in ("seen", "unseen") for metric in wanted} <= metrics.keys()
    if draws:
        assert np.isfinite(losses["critic_total"])
        assert sum(value for key, value in losses.items() if key.endswith("_share")) == pytest.approx(1, rel=1e-4)
        for part in ("seen", "unseen"):
            sheet = cv2.imread(str(run / f"sheet-{part}.png"))
            assert sheet is not None
            assert sheet.std() > 5
    else:
        assert np.isfinite(metrics["noise_opening"])


def test_what_was_trained_is_loaded_and_draws(trained: tuple[str, Path]) -> None:
    _, run = trained
    model = load_model(run / "model").network
    face = drawn_face.points(4.0)
    crop = stack_crops([drawn_face.picture(face)])
    points = torch.from_numpy(face)[None]
    faces = Faces(
        crops=crop.expand(2, -1, -1, -1), landmarks=points.expand(2, -1, -1), times_s=torch.tensor([3.0, 3.04])
    )
    known = Gallery(crops=crop, landmarks=points, times_s=torch.tensor([0.0]), observed_landmarks=points)
    with torch.inference_mode():
        units = model.predict_units(torch.full((1, 8, 80), -40.0))[0]
        drawn = model.render(units, faces, known)
    assert drawn.shape == (2, 3, 128, 128)
    assert bool(torch.isfinite(drawn).all())
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    assert float(drawn.std()) > 0.02


@pytest.mark.parametrize("name", PRESETS)
def test_resumed_training_is_the_same_training(
    name: str, corpus: Path, sync_run: Path, a2l_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = dataclasses.replace(
        L2F[name].train, steps=6, log_every=1, validate_every=6, checkpoint_every_s=0.0
    )  # a checkpoint after every step
    monkeypatch.setitem(L2F, name, dataclasses.replace(L2F[name], train=hasty))

    def go(run: Path, stop_at: int | None = None, seed: int = 0) -> None:
        def stop(done: int, total: int | None) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        torch.manual_seed(seed)
        options = RunOptions(run=run, accelerator="cpu")
        train_l2f(name, Corpus(folder=corpus), sync_run / "model", a2l_run / "model", options, stop)

    go(tmp_path / "through")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "resumed", stop_at=3)
    monkeypatch.setattr(run_module, "measure_corpus_mesh", lambda *_: pytest.fail("the run has a mesh"))
    go(tmp_path / "resumed", seed=99)  # whatever it was begun with must not matter
    through, resumed = read_train_log(tmp_path / "through"), read_train_log(tmp_path / "resumed")
    assert [line["step"] for line in resumed] == list(range(1, 7))
    for one, other in zip(through, resumed, strict=True):
        for key, value in one.items():
            if key not in ("kind", "time_s", "time"):
                assert other[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key
    assert compute_weights_sha256(tmp_path / "through" / "model") == compute_weights_sha256(
        tmp_path / "resumed" / "model"
    )


@pytest.mark.parametrize("trained", ["l2f-debug"], indirect=True)
def test_the_mesh_is_that_of_the_training_clips(trained: tuple[str, Path], corpus: Path) -> None:
    network = load_model(trained[1] / "model").network
    assert isinstance(network, MeshLips)
    training = ClipStore(corpus, MelConfig(), load_split_names(corpus / "splits.json", "train"))
    mesh = measure_corpus_mesh(training, L2F["l2f-debug"].decoder.components)  # type: ignore[union-attr]
    assert network.config.decoder.triangles == len(mesh.triangles)
    for buffer, value in mesh.state_dict().items():
        torch.testing.assert_close(network.decoder.mesh.state_dict()[buffer], value, atol=1e-3, rtol=0)
    for motion in mesh.basis.flatten(1):
        assert motion[motion.abs().argmax()] > 0
    assert float(measure_lip_gap(mesh.basis).abs().max()) > 2  # opening is among its motions
    average = measure_geometry(mesh, training)[1]
    assert float(network.decoder.opening_px) == pytest.approx(average, rel=0.05)


@pytest.fixture
def build_stage(
    corpus: Path, sync_run: Path, a2l_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Stage]:
    """Build a preset's stage as the command does."""

    def build(name: str) -> Stage:
        stages: list[Stage] = []
        monkeypatch.setattr(run_module, "train", lambda stage, *_: stages.append(stage))
        source = Corpus(folder=corpus, splits=corpus / "splits.json")
        options = RunOptions(run=tmp_path / "run", accelerator="cpu")
        train_l2f(name, source, sync_run / "model", a2l_run / "model", options)
        return stages[0]

    return build


@pytest.mark.parametrize("name", PRESETS)
def test_every_weight_that_learns_has_a_gradient(name: str, build_stage: Callable[[str], Stage]) -> None:
    stage = build_stage(name)
    stage.compute_losses(stage.model, np.random.default_rng(0), torch.device("cpu"))["total"].backward()
    # Several devices would wait for one that has none.
    idle = [name for name, weight in stage.model.named_parameters() if weight.requires_grad and weight.grad is None]
    assert idle == []


def test_stretches_are_cut_to_any_length(build_stage: Callable[[str], Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    stage = build_stage("l2f-debug")
    assert isinstance(stage, MeshStage)
    rng, heard = np.random.default_rng(0), []

    def counted(*given: object, **named: int) -> ClipBatch:
        heard.append((named["clips"], named["frames"]))
        return sample_windows(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(l2f_mesh, "sample_windows", counted)
    for cut, lengths in ((0.0, {30}), (1.0, set(range(1, 31)))):
        heard.clear()
        stage.config = dataclasses.replace(stage.config, cut=cut, rate=0.0, noise=SPEECH)
        found = [stage.compute_losses(stage.model, rng, torch.device("cpu")) for _ in range(12)]
        assert {frames for _, frames in heard} <= lengths
        assert all(clips == 2 * min(30 // frames, 8) for clips, frames in heard)
        assert all(math.isfinite(value.item()) for losses in found for value in losses.values())
        assert [losses["follow"].item() > 0 for losses in found] == [cut == 0] * 12
    assert len({frames for _, frames in heard}) > 4


@pytest.mark.parametrize("masked", [0.0, 0.25, 1.0])
def test_so_many_stretches_are_heard_in_part(build_stage: Callable[[str], Stage], masked: float) -> None:
    stage = build_stage("l2f-debug")
    assert isinstance(stage, MeshStage)
    stage.config = dataclasses.replace(stage.config, masked=masked)
    rng = np.random.default_rng(0)
    shares = np.array([stage._sample_mask(rng, stage.config.frames).mean() for _ in range(200)])
    assert (shares > 0).mean() == pytest.approx(masked, abs=0.07)
    assert shares.max() <= stage.config.budget


@torch.no_grad()
def test_a_mouth_that_stands_still_leaves_the_metrics_finite(build_stage: Callable[[str], Stage]) -> None:
    stage = build_stage("l2f-debug")
    assert isinstance(stage, MeshStage)
    known = stage._held_out_mouths
    still = [dataclasses.replace(face, target=face.target[:1].expand_as(face.target)) for face in known["unseen"]]
    stage._held_out_mouths = {"seen": known["seen"], "unseen": [still[0], *known["unseen"][1:]]}
    some = stage.validate(stage.model.eval(), torch.device("cpu"))
    stage._held_out_mouths = {"seen": known["seen"], "unseen": still}
    none = stage.validate(stage.model.eval(), torch.device("cpu"))
    assert np.isfinite([*some.values(), *none.values()]).all()
    assert "unseen_span" in some
    assert none["unseen_opening"] == 0
    assert "unseen_span" not in none


@pytest.mark.parametrize("wrong", [{"masked": 1.5}, {"cut": -0.1}, {"budget": 0.0}, {"rate": 1.0}])
def test_impossible_shares_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected masked, cut and rate from 0 to 1 and a budget above 0"):
        MeshStageConfig(**wrong)  # type: ignore[arg-type]


def test_l2f_needs_and_names_its_parents(
    corpus: Path, sync_run: Path, a2l_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "l2f", "l2f-debug", "--corpus", str(corpus), "--run", str(tmp_path / "run")]
    sync, a2l = ["--sync", str(sync_run / "model")], ["--a2l", str(a2l_run / "model")]
    for given, words in (
        (a2l, "l2f: expected --sync with the checkpoint of trained sync encoders, found none"),
        (sync, "l2f: expected --a2l with the checkpoint of a trained Audio-to-Lip, found none"),
        ([*sync, "--a2l", str(sync_run / "model")], "expected an Audio-to-Lip checkpoint, found a 'sync' one"),
        ([*a2l, "--sync", str(a2l_run / "model")], "expected sync encoders, found a 'a2l' model"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, *given])
        assert stopped.value.code == 1
        assert words in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_parts_of_other_sizes_are_refused(corpus: Path, sync_run: Path, a2l_run: Path, tmp_path: Path) -> None:
    parents = (sync_run / "model", a2l_run / "model")
    options = RunOptions(run=tmp_path / "run", accelerator="cpu")
    with pytest.raises(CheckpointError, match="expected units of width 256, found 16"):
        train_l2f("l2f-grid-small", Corpus(folder=corpus), *parents, options)
    with pytest.raises(ConfigError, match="did you mean 'l2f-debug'"):
        train_l2f("l2f-debgu", Corpus(folder=corpus), *parents, options)
    assert not (tmp_path / "run").exists()
