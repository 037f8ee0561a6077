"""A start that stays at chance is detected, restarted and, if all starts fail, explained."""

import dataclasses
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cals.checkpoint import Checkpoint
from cals.errors import ConfigError, DataError
from cals.features.mel import MelConfig
from cals.losses.contrastive import info_nce
from cals.training import chance
from cals.training.chance import ChanceMonitor
from cals.training.config import TrainConfig
from cals.training.loop import RunOptions, train
from cals.training.presets import SYNC
from cals.training.run import Corpus
from cals.training.stage import Losses, Stage
from cals.training.stages.sync import SyncStage
from training.conftest import PLAIN

pytestmark = pytest.mark.slow

SETTINGS = TrainConfig(steps=80, lr=0.1, warmup=0.0, patience=0.25, log_every=1, validate_every=1000)
DUE = 20
FAR = 1e6


def spoil(head: nn.Linear) -> None:
    """Set identical embeddings, so large that no training step separates them."""
    nn.init.constant_(head.bias, FAR)


class Both(nn.Module):
    """One matrix for visual inputs and one for audio inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.visual, self.audio = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, seen: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        return normalize(self.visual(seen), dim=-1), normalize(self.audio(heard), dim=-1)


class Pairs(Stage):
    """Vector pairs, each projected by a matrix; the first `bad` starts are made to fail."""

    name = "pairs"

    def __init__(self, settings: TrainConfig = SETTINGS, bad: int = 0) -> None:
        self.train, self._bad = settings, bad
        self.model = Both()
        self.reset_weights()

    @property
    def chance_loss(self) -> float:
        return math.log(16)

    def reset_weights(self) -> None:
        torch.manual_seed(self.seed)
        for head in (self.model.visual, self.model.audio):
            head.reset_parameters()
            if self.restarts < self._bad:
                spoil(head)

    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        turn = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 4))).float()
        seen = torch.from_numpy(rng.normal(size=(16, 4))).float()
        return {"total": info_nce(*model(seen, seen @ turn))}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        return {}

    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        return Checkpoint(kind="pairs", config={}, weights=dict(model.state_dict()), step=step, metrics=metrics)

    def explain_chance(self) -> str:
        return "Usual reason: a test."


@pytest.fixture(autouse=True)
def check_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check starts after a few steps."""
    monkeypatch.setattr(chance, "MIN_STEP", 10)
    monkeypatch.setattr(chance, "WINDOW", 10)


def options(run: Path) -> RunOptions:
    return RunOptions(run=run, accelerator="cpu")


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def last_loss(run: Path) -> float:
    return float(np.mean([line["total"] for line in read_log(run, "train")][-10:]))


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_bad_start_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: int) -> None:
    stage = Pairs(bad=bad)
    with caplog.at_level(logging.WARNING):
        train(stage, options(tmp_path))
    assert last_loss(tmp_path) < 0.3 * stage.chance_loss
    assert (stage.restarts, stage.seed, stage.step) == (bad, bad, SETTINGS.steps)
    assert [line["seed"] for line in read_log(tmp_path, "restart")] == list(range(1, bad + 1))
    assert [line["step"] for line in read_log(tmp_path, "train")] == list(range(1, SETTINGS.steps + 1))
    warnings = [record.message for record in caplog.records if "beginning anew" in record.message]
    assert len(warnings) == bad
    assert all("step 20: expected a loss well under chance, 2.77, found 2.77" in message for message in warnings)


@pytest.mark.parametrize("stopped_at", [DUE - 5, DUE - 1, DUE + 4])
def test_a_resumed_run_judges_as_one_that_ran_through(tmp_path: Path, stopped_at: int) -> None:
    through = Pairs(bad=1)
    train(through, options(tmp_path / "through"))
    calls = 0

    def stop(done: int, total: int | None) -> None:
        nonlocal calls
        calls += 1
        if calls == stopped_at:  # the restart itself is no call
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Pairs(dataclasses.replace(SETTINGS, checkpoint_every_s=0.0), bad=1), options(tmp_path / "resumed"), stop)
    resumed = Pairs(bad=1)
    train(resumed, options(tmp_path / "resumed"))
    assert resumed.restarts == 1
    for kind in ("restart", "train"):
        assert read_log(tmp_path / "resumed", kind) == read_log(tmp_path / "through", kind)
    for name, value in through.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_when_no_start_is_left_it_says_what_to_check_and_goes_on_if_told(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"chance, 2\.77, found 2\.77 .* last of 3 starts\. Usual reason: a test\. Mend"
    ):
        train(Pairs(bad=9), options(tmp_path))
    assert len(read_log(tmp_path, "restart")) == 2
    assert read_log(tmp_path, "train")[-1]["step"] == DUE
    stage = Pairs(bad=9)
    train(stage, options(tmp_path))
    assert (stage.step, stage.restarts) == (SETTINGS.steps, 2)


def test_a_stage_without_a_loss_of_chance_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pairs, "chance_loss", None)
    stage = Pairs(bad=1)
    train(stage, options(tmp_path))
    assert (stage.restarts, read_log(tmp_path, "restart")) == (0, [])


@pytest.mark.parametrize(("loss", "stuck"), [(2.77, True), (2.72, True), (2.6, False), (9.0, True), (math.nan, True)])
def test_what_chance_is(loss: float, stuck: bool) -> None:
    stage = Pairs()
    watch = ChanceMonitor(stage)
    for stage.step in range(1, DUE + 1):
        assert stage.step == DUE or not watch.is_stuck()
        watch.record(torch.tensor(loss if stage.step > DUE - 10 else 0.0))
    assert watch.is_stuck() == stuck


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="patience and restarts from 0 up, found 0.12 and -1"):
        TrainConfig(restarts=-1)


def sync_stage(corpus: Path) -> SyncStage:
    config = dataclasses.replace(SYNC["sync-debug"], clips=5, **PLAIN)
    settings = dataclasses.replace(config.train, steps=50, patience=0.42, log_every=1, validate_every=60)
    return SyncStage(
        dataclasses.replace(config, train=settings),
        *Corpus(folder=corpus, splits=corpus / "splits.json").open_clips(MelConfig()),
    )


def test_sync_encoders_recover_from_a_bad_start(corpus: Path, tmp_path: Path) -> None:
    stage = sync_stage(corpus)
    for head in (stage.model.visual.head, stage.model.audio.head):
        spoil(head)
    train(stage, options(tmp_path))
    assert stage.restarts == 1
    assert last_loss(tmp_path) < 0.8 * stage.chance_loss


def test_new_sync_encoders_are_told_by_their_seed(corpus: Path) -> None:
    stage = sync_stage(corpus)
    torch.manual_seed(99)  # whatever was drawn before must not matter
    again = sync_stage(corpus)
    weights = stage.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.model.state_dict().items())
    again.restarts = 1
    again.reset_weights()
    assert not torch.equal(again.model.state_dict()["visual.head.weight"], weights["visual.head.weight"])


def test_a_head_moves_slower_than_what_it_reads(corpus: Path, tmp_path: Path) -> None:
    stage = sync_stage(corpus)
    stage.train = dataclasses.replace(stage.train, steps=1, warmup=0.0, weight_decay=0.0)
    before = {name: value.clone() for name, value in stage.model.named_parameters()}
    train(stage, options(tmp_path))
    for name, value in stage.model.named_parameters():
        step = float((value - before[name]).detach().abs().max())
        # Adam's first step is as long as its rate.
        assert step == pytest.approx(stage.train.lr * (0.1 if ".head." in name else 1.0), rel=0.05), name
