"""SyncTalkFace as a preset of Lip-to-Face: losses of the memory, the parts that they train, and resuming."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.cli import main
from cals.errors import ConfigError
from cals.inference.load import load_model
from cals.losses.memory import feature_distance
from cals.losses.reconstruction import l1
from cals.media.reader import VideoReader
from cals.models.synctalk import RecallConfig, SyncTalkFace
from cals.training import run as run_module
from cals.training.loop import RunOptions
from cals.training.presets import L2F
from cals.training.run import Corpus, train_l2f, train_l2f_stage
from cals.training.stages.l2f_unet import UNetStage, UNetStageConfig
from training.conftest import PLAIN

pytestmark = pytest.mark.slow

NAME = "l2f-debug-synctalkface"
EXAMPLES = Path(__file__).parents[2] / "examples"
CPU = torch.device("cpu")


def preset(name: str = NAME) -> UNetStageConfig:
    config = L2F[name]
    assert isinstance(config, UNetStageConfig)
    return config


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def build(config: UNetStageConfig, corpus: Path, sync_run: Path, run: Path) -> UNetStage:
    """Build the stage as the command does."""
    stages: list[UNetStage] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "train", lambda stage, *_: stages.append(stage))
        source = Corpus(folder=corpus, splits=corpus / "splits.json")
        train_l2f_stage(config, source, sync_run / "model", None, RunOptions(run=run, accelerator="cpu"))
    stages[0].step = 1  # the discriminator has its say
    return stages[0]


@pytest.fixture(scope="module")
def trained(corpus: Path, sync_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the preset by the command; returns the run."""
    run = tmp_path_factory.mktemp("runs") / "synctalkface"
    arguments = ["train", "l2f", NAME, "--corpus", str(corpus), "--splits", str(corpus / "splits.json")]
    main([*arguments, "--sync", str(sync_run / "model"), "--run", str(run), "--accelerator", "cpu"])
    return run


def test_a_run_leaves_a_model_that_generates(trained: Path, sync_run: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(trained / "model")
    assert (checkpoint.kind, checkpoint.step) == ("synctalkface", preset().train.steps)
    assert checkpoint.parents == {"sync": compute_weights_sha256(sync_run / "model")}
    losses = read_log(trained, "train")[-1]
    terms = ("recon", "gan", "d_av", "d_lips", "store", "align")
    assert losses["total"] == pytest.approx(sum(losses[term] for term in terms), rel=1e-4)
    assert "d_vv" not in losses
    assert (trained / "sheet-seen.png").is_file()
    main(["models", "bundle", str(trained / "model"), "--out", str(tmp_path / "ours")])
    assert isinstance(load_model(tmp_path / "ours").network, SyncTalkFace)
    out = tmp_path / "out.mp4"
    face = ["--face", str(EXAMPLES / "astronaut.jpg"), "--audio", str(EXAMPLES / "speech.wav")]
    main(["generate", *face, "--out", str(out), "--model", str(trained / "model")])
    with VideoReader(out) as reader:
        assert sum(1 for _ in reader) > 25


def test_every_image_loss_is_on_both_generations(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    stage = build(dataclasses.replace(preset(), **{k: PLAIN[k] for k in ("voice", "room")}), corpus, sync_run, tmp_path)
    shown: list[torch.Tensor] = []
    assert stage.discriminator is not None
    first = next(iter(stage.discriminator.layers))
    first.register_forward_pre_hook(lambda _, given: shown.append((given[0] + 1) / 2))
    stored = []
    stage.model.register_forward_hook(lambda _, given, found: stored.append((given, found)))
    losses = stage.compute_losses(stage.model, np.random.default_rng(0), CPU)
    (_, _, _, real), made = stored[0]
    config = stage.config
    both = l1(made.by_lips, real) + l1(made.by_audio, real)
    torch.testing.assert_close(losses["recon"], config.recon * both)
    torch.testing.assert_close(shown[0], torch.cat([made.by_lips, made.by_audio]).flatten(0, 1)[..., 64:, :])
    assert isinstance(stage.model, SyncTalkFace)
    assert stage.model.lips is not None
    crops = torch.cat([made.by_lips, made.by_audio])
    torch.testing.assert_close(losses["d_lips"], 2 * 0.2 * feature_distance(stage.model.lips, crops, real))
    torch.testing.assert_close(losses["store"], 0.2 * (made.recalled - made.lips).square().mean())
    stage.compute_discriminator_losses(stage.discriminator)
    assert len(shown[-1]) == 4 * real.flatten(0, 1).shape[0]  # as many real ones as generated


def gradients(stage: UNetStage, name: str) -> dict[str, float]:
    """Compute the largest gradient in every part of the model from one of the losses alone."""
    stage.model.zero_grad()
    torch.manual_seed(0)
    stage.compute_losses(stage.model, np.random.default_rng(0), CPU)[name].backward()
    found: dict[str, float] = {}
    for key, weight in stage.model.named_parameters():
        part = key if key.startswith("memory") else key.split(".")[0]
        found[part] = max(found.get(part, 0.0), 0.0 if weight.grad is None else float(weight.grad.abs().max()))
    return found


def test_each_loss_teaches_whom_it_may(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    stage = build(preset(), corpus, sync_run, tmp_path)
    everything = {"window", "decoder", "join", "lips", "memory.key", "memory.value"}
    taught = {name: {part for part, size in gradients(stage, name).items() if size > 0} for name in ("store", "align")}
    assert taught["store"] == {"lips", "memory.value"}  # through the address alone: the feature is a target
    assert taught["align"] == {"window", "memory.key"}
    assert {part for part, size in gradients(stage, "recon").items() if size > 0} == everything
    assert stage.model.get_parameter("lips.head.0.weight").grad is not None
    stage.compute_losses(stage.model, np.random.default_rng(0), CPU)["total"].backward()
    # Several devices would wait for one that has none.
    assert [name for name, weight in stage.model.named_parameters() if weight.grad is None] == []


def test_a_few_windows_are_learnt_by_heart(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    stage = build(preset(), corpus, sync_run, tmp_path)
    optimizer = torch.optim.Adam(stage.model.parameters(), lr=2e-2, betas=(0.5, 0.999))
    log = []
    for _ in range(60):
        torch.manual_seed(0)
        losses = stage.compute_losses(stage.model, np.random.default_rng(0), CPU)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        log.append({name: float(losses[name].detach()) for name in ("recon", "store", "align")})
    left = {name: log[-1][name] / value for name, value in log[0].items()}
    assert max(left.values()) < 0.7, left


def test_resumed_training_is_the_same_training(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    hasty = dataclasses.replace(preset().train, steps=6, log_every=1, validate_every=6, checkpoint_every_s=0.0)
    config = dataclasses.replace(preset(), train=hasty)

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
        told = one.keys() - {"kind", "time", "time_s"}
        assert {"store", "align", "d_lips", "critic_total"} <= told
        assert {key: one[key] for key in told} == pytest.approx({key: other[key] for key in told}, rel=1e-4, abs=1e-6)
    assert compute_weights_sha256(tmp_path / "through" / "model") == compute_weights_sha256(
        tmp_path / "resumed" / "model"
    )


def test_without_memory_it_is_one_generation(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    recall = preset().recall
    assert recall is not None
    empty = dataclasses.replace(recall, memory=dataclasses.replace(recall.memory, slots=0))
    stage = build(dataclasses.replace(preset(), recall=empty), corpus, sync_run, tmp_path)
    losses = stage.compute_losses(stage.model, np.random.default_rng(0), CPU)
    assert {name for name in losses if not name.endswith("_share")} == {"recon", "gan", "d_av", "total"}
    losses["total"].backward()
    assert [name for name, weight in stage.model.named_parameters() if weight.grad is None] == []


def test_presets_differ_from_their_like_in_what_is_recalled_alone() -> None:
    for name, like in (
        ("l2f-grid-synctalkface", "l2f-grid-wav2lip"),
        ("l2f-grid-paper-synctalkface", "l2f-grid-paper-wav2lip"),
        ("l2f-debug-synctalkface", "l2f-debug-wav2lip"),
    ):
        assert dataclasses.replace(preset(name), recall=None) == preset(like)
    paper = preset("l2f-grid-paper-synctalkface")
    assert paper.recall == RecallConfig()
    assert (paper.recon, paper.windows * 5, paper.perceptual.discriminator_lr) == (10, 40, 5e-4)
    assert (paper.perceptual.d_av, paper.perceptual.gan, paper.perceptual.d_vv) == (0.2, 0.2, 0)
    assert (paper.memory.store, paper.memory.align, paper.memory.d_lips) == (0.2, 0.2, 0.2)
    small, without = preset("l2f-grid-synctalkface").recall, preset("l2f-grid-synctalkface-nomemory").recall
    assert small is not None
    assert without == dataclasses.replace(small, memory=dataclasses.replace(small.memory, slots=0))


def test_recall_needs_a_window_and_no_other_visual_loss(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected recall with a window"):
        dataclasses.replace(preset(), window=None)
    with pytest.raises(ConfigError, match="perceptual losses without d_vv"):
        dataclasses.replace(preset(), perceptual=dataclasses.replace(preset().perceptual, d_vv=0.2))
    options = RunOptions(run=tmp_path / "run", accelerator="cpu")
    with pytest.raises(ConfigError, match="did you mean 'l2f-debug-synctalkface'"):
        train_l2f("l2f-debug-synctalk", Corpus(folder=corpus), sync_run / "model", None, options)
