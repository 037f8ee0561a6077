"""Wav2Lip as a preset of Lip-to-Face, and the delayed start of the sync losses."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.cli import main
from cals.errors import CheckpointError, ConfigError
from cals.inference.load import load_model
from cals.models.wav2lip import Wav2Lip
from cals.training import run as run_module
from cals.training.loop import RunOptions
from cals.training.presets import L2F
from cals.training.run import Corpus, train_l2f, train_l2f_stage
from cals.training.stages.l2f_unet import SYNC_START_FILE, UNetStage, UNetStageConfig

pytestmark = pytest.mark.slow

NAME = "l2f-debug-wav2lip"


def preset() -> UNetStageConfig:
    config = L2F[NAME]
    assert isinstance(config, UNetStageConfig)
    return config


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def train_until(config: UNetStageConfig, corpus: Path, sync_run: Path, run: Path, stop_at: int | None = None) -> None:
    def stop(done: int, total: int | None) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    source = Corpus(folder=corpus, splits=corpus / "splits.json")
    train_l2f_stage(config, source, sync_run / "model", None, RunOptions(run=run, accelerator="cpu"), stop)


@pytest.fixture(scope="module")
def trained(corpus: Path, sync_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the preset; returns the run."""
    run = tmp_path_factory.mktemp("runs") / "wav2lip"
    source = Corpus(folder=corpus, splits=corpus / "splits.json")
    train_l2f(NAME, source, sync_run / "model", None, RunOptions(run=run, accelerator="cpu"))
    return run


def test_a_run_leaves_a_lip_model_of_its_kind(trained: Path, sync_run: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(trained / "model")
    assert (checkpoint.kind, checkpoint.step) == ("wav2lip", preset().train.steps)
    assert checkpoint.parents == {"sync": compute_weights_sha256(sync_run / "model")}
    losses = read_log(trained, "train")[-1]
    assert {"recon", "gan", "d_av", "critic_total"} <= losses.keys()
    assert "d_vv" not in losses  # its expert's loss alone
    assert {"seen_l1", "unseen_copy_l1", "seen_d_av", "unseen_d_av"} <= read_log(trained, "validation")[-1].keys()
    assert (trained / "sheet-seen.png").is_file()
    arguments = ["models", "bundle", str(trained / "model"), "--out", str(tmp_path / "ours")]
    main([*arguments, "--sync", str(sync_run / "model")])
    assert isinstance(load_model(tmp_path / "ours").network, Wav2Lip)


def test_every_weight_that_learns_has_a_gradient(
    corpus: Path, sync_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[UNetStage] = []
    monkeypatch.setattr(run_module, "train", lambda stage, *_: stages.append(stage))
    train_until(preset(), corpus, sync_run, tmp_path / "run")
    network = stages[0].model
    stages[0].compute_losses(network, np.random.default_rng(0), torch.device("cpu"))["total"].backward()
    assert isinstance(network, Wav2Lip)
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    groups = stages[0].build_parameter_groups()
    assert sum(len(group.parameters) for group in groups) == len(list(network.parameters()))
    assert {(group.lr_share, group.from_step) for group in groups} == {(1.0, 0)}  # nothing of it is trained already


@pytest.mark.parametrize(("below", "first"), [(100.0, 4), (0.0, None), (None, 1)])
def test_sync_losses_wait_for_the_held_out_windows(
    corpus: Path, sync_run: Path, tmp_path: Path, below: float | None, first: int | None
) -> None:
    settings = dataclasses.replace(preset().train, steps=6, log_every=1, validate_every=3)
    train_until(dataclasses.replace(preset(), train=settings, sync_below=below), corpus, sync_run, tmp_path / "run")
    heard = [line["step"] for line in read_log(tmp_path / "run", "train") if "d_av" in line]
    assert heard == ([] if first is None else list(range(first, 7)))
    start = tmp_path / "run" / SYNC_START_FILE
    assert start.is_file() == (below == 100)
    if below == 100:
        found = read_log(tmp_path / "run", "validation")[0]
        written = json.loads(start.read_text())
        assert written["step"] == 3
        assert written["d_av"] == pytest.approx((found["seen_d_av"] + found["unseen_d_av"]) / 2)


def test_a_run_that_goes_on_knows_when_they_began(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(preset().train, steps=7, log_every=1, validate_every=4, checkpoint_every_s=0.0)
    config = dataclasses.replace(preset(), train=settings, sync_below=100.0)
    train_until(config, corpus, sync_run, tmp_path / "through")
    with pytest.raises(KeyboardInterrupt):
        train_until(config, corpus, sync_run, tmp_path / "resumed", stop_at=6)
    train_until(config, corpus, sync_run, tmp_path / "resumed")
    assert compute_weights_sha256(tmp_path / "through" / "model") == compute_weights_sha256(
        tmp_path / "resumed" / "model"
    )
    (tmp_path / "resumed" / SYNC_START_FILE).write_text("soon")
    with pytest.raises(CheckpointError, match="expected the step of a start"):
        train_until(config, corpus, sync_run, tmp_path / "resumed")


def test_who_hears_windows_needs_no_a2l_and_others_do(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    options = RunOptions(run=tmp_path / "run", accelerator="cpu")
    with pytest.raises(ConfigError, match="l2f: expected --a2l with the checkpoint of a trained Audio-to-Lip"):
        train_l2f("l2f-debug-unet", Corpus(folder=corpus), sync_run / "model", None, options)
    assert not (tmp_path / "run").exists()


def test_presets_differ_from_their_like_in_hearing_and_sync_loss_alone() -> None:
    for name, like in (
        ("l2f-grid-wav2lip", "l2f-grid-ablation"),
        ("l2f-grid-paper-wav2lip", "l2f-grid-paper"),
        ("l2f-debug-wav2lip", "l2f-debug-unet"),
    ):
        one, other = L2F[name], L2F[like]
        different = {f.name for f in dataclasses.fields(one) if getattr(one, f.name) != getattr(other, f.name)}
        assert different == {"window", "perceptual"}, name
        assert dataclasses.replace(one.perceptual, d_vv=other.perceptual.d_vv) == other.perceptual
