"""The motion head learns mouth motion at any speech rate, and rest where nobody speaks."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cals.data.noises import NoiseAugment
from cals.losses.motion import concordance_loss
from cals.models.mesh import measure_lip_gap
from cals.training import run as run_module
from cals.training.loop import RunOptions
from cals.training.run import Corpus, train_l2f
from cals.training.stage import Stage
from cals.training.stages.l2f_mesh import MeshStage
from training.conftest import PLAIN

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
PURE = {name: PLAIN[name] for name in ("voice", "room")} | {"pauses": 0.0}


@pytest.fixture
def stage(corpus: Path, sync_run: Path, a2l_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeshStage:
    """Build the stage of `l2f-debug` as the command does, without augmentation."""
    stages: list[Stage] = []
    monkeypatch.setattr(run_module, "train", lambda stage, *_: stages.append(stage))
    monkeypatch.setattr(
        run_module, "measure_clip_offsets", lambda _encoders, _sha256, store, _place: [0.0] * len(store)
    )
    torch.manual_seed(0)
    source = Corpus(folder=corpus, splits=corpus / "splits.json")
    options = RunOptions(run=tmp_path / "run", accelerator="cpu")
    train_l2f("l2f-debug", source, sync_run / "model", a2l_run / "model", options)
    assert isinstance(stages[0], MeshStage)
    return set_noise(stages[0], masked=0.0, rate=0.0)


def set_noise(stage: MeshStage, alone: float = 0.0, mixed: float = 0.0, **changes: Any) -> MeshStage:
    noise = NoiseAugment(mixed=mixed, babble=0.0, alone=alone, snr_db=(5.0, 5.0))
    stage.config = dataclasses.replace(stage.config, noise=noise, **PURE, **changes)
    return stage


def train(stage: MeshStage, steps: int) -> list[float]:
    """Train on the same four batches repeatedly; returns the losses."""
    optimizer = torch.optim.Adam([p for p in stage.model.parameters() if p.requires_grad], lr=3e-3)
    found = []
    for step in range(steps):
        loss = stage.compute_losses(stage.model, np.random.default_rng(step % 4), CPU)["total"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(loss.item())
    return found


def test_a_few_windows_are_learnt_and_noise_leaves_lips_at_rest(stage: MeshStage) -> None:
    found = train(set_noise(stage, alone=0.3, clips=4), 160)
    assert sum(found[-8:]) < 0.4 * sum(found[:8])
    stage.model.eval()
    gaps = measure_lip_gap(stage.model.decoder.mesh.basis)
    mel, target, spoken = stage._sample_windows(np.random.default_rng(1), 30)
    with torch.no_grad():
        opening = stage.model(mel)[0] @ gaps
    target = target[..., : len(gaps)]
    away = (target @ gaps).std()
    assert bool(spoken.any())
    assert float(concordance_loss(opening[spoken], (target @ gaps)[spoken])) < 0.35
    with torch.no_grad():
        noise = stage.validate(stage.model, CPU)["noise_opening"]
    assert abs(noise) < 0.6
    assert float(away) > 1


def test_where_nobody_speaks_the_target_is_rest(stage: MeshStage) -> None:
    rng = np.random.default_rng(0)
    _, target, spoken = set_noise(stage, alone=1.0)._sample_windows(rng, 30)
    assert not spoken.any()
    assert float(target[..., :4].abs().max()) == 0
    assert float(target[..., 4:].diff(dim=1).abs().max()) == 0  # the look of a mouth at rest is not that of the mean
    assert float(target[..., 4:].abs().max()) > 0.1
    losses = stage.compute_losses(stage.model, rng, CPU)
    assert losses.keys() == {"motion", "appearance", "appearance_follow", "total"}
    _, target, spoken = set_noise(stage, alone=0.0)._sample_windows(np.random.default_rng(0), 30)
    assert spoken.all()
    assert float(target.abs().amax(dim=(1, 2)).min()) > 0.5


def test_sound_and_motion_are_cut_at_the_same_place(stage: MeshStage) -> None:
    """Check that synthetic mouths open with the loudness of the audio."""
    mel, target, _ = stage._sample_windows(np.random.default_rng(0), 30)
    assert (mel.shape, target.shape) == ((2, 120, 80), (2, 30, 8))
    for sound, motion in zip(mel, target, strict=True):
        loud = sound.amax(dim=1).unflatten(0, (30, 4)).mean(dim=1)  # type: ignore[no-untyped-call]
        assert np.corrcoef(loud, motion[:, :4] @ measure_lip_gap(stage.model.decoder.mesh.basis))[0, 1] > 0.8


def test_a_rate_changes_both_and_keeps_their_length(stage: MeshStage) -> None:
    set_noise(stage, rate=0.5)
    taken = []
    for seed in range(12):
        mel, target, _ = stage._sample_windows(np.random.default_rng(seed), 30)
        assert (mel.shape, target.shape) == ((2, 120, 80), (2, 30, 8))
        loud = mel.amax(dim=2).unflatten(1, (30, 4)).mean(dim=2)  # type: ignore[no-untyped-call]
        opening = target[..., :4] @ measure_lip_gap(stage.model.decoder.mesh.basis)
        assert np.corrcoef(loud.flatten(), opening.flatten())[0, 1] > 0.6
        taken.append(float(opening.diff(dim=1).abs().mean()))
    assert max(taken) > 1.5 * min(taken)  # faster and slower


def test_small_motions_count_a_little_and_energy_most(stage: MeshStage) -> None:
    target, spoken = torch.zeros(1, 30, 4), torch.tensor([True])
    each = []
    for k in range(4):
        wrong = torch.zeros(1, 30, 4)
        wrong[..., k] = 1.0
        each.append(float(stage._compute_motion_losses(wrong, target, spoken, follow=0.0)["motion"]))
    assert each == sorted(each, reverse=True)
    assert sum(each) == pytest.approx(1)
    assert min(each) >= 0.1 / 4 - 1e-6
