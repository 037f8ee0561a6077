"""A discriminator trained in turn with the network, and parameter groups with their own learning rates."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toy_gan import SETTINGS, ToyGan

from cals.errors import CheckpointError, ConfigError
from cals.training.loop import RunOptions, train
from cals.training.optim import ParameterGroup
from cals.training.state import load_state, save_state

pytestmark = pytest.mark.slow


def train_log(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


def options(run: Path) -> RunOptions:
    return RunOptions(run=run, accelerator="cpu")


def weights(module: nn.Module | None) -> dict[str, torch.Tensor]:
    assert module is not None
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(("stopped_at", "accumulate"), [(3, 2), (11, 1)])
def test_a_resumed_game_is_the_same_game(tmp_path: Path, stopped_at: int, accumulate: int) -> None:
    settings = dataclasses.replace(SETTINGS, accumulate=accumulate)
    through = ToyGan(settings, from_step=5)
    train(through, options(tmp_path / "through"))

    def stop(done: int, total: int | None) -> None:
        if done == stopped_at:
            raise KeyboardInterrupt

    hasty = dataclasses.replace(settings, checkpoint_every_s=0.0)  # a checkpoint after every step
    with pytest.raises(KeyboardInterrupt):
        train(ToyGan(hasty, from_step=5), options(tmp_path / "resumed"), stop)
    resumed = ToyGan(settings, from_step=5)
    for module in (resumed.model, resumed.discriminator):
        assert module is not None
        nn.init.zeros_(next(module.parameters()))  # what is not restored would show
    train(resumed, options(tmp_path / "resumed"))
    assert train_log(tmp_path / "resumed") == train_log(tmp_path / "through")
    for one, other in ((through.model, resumed.model), (through.discriminator, resumed.discriminator)):
        assert all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def test_the_critic_learns_from_its_step_on_and_only_from_its_own_losses(tmp_path: Path) -> None:
    stage = ToyGan(dataclasses.replace(SETTINGS, steps=6), from_step=6)
    untouched = weights(stage.discriminator)
    train(stage, options(tmp_path / "before"))
    assert all(torch.equal(value, untouched[name]) for name, value in weights(stage.discriminator).items())
    assert all("critic_total" not in line for line in train_log(tmp_path / "before"))

    stage = ToyGan(dataclasses.replace(SETTINGS, lr=1e-5, steps=160), from_step=10)
    train(stage, options(tmp_path / "from"))
    log = train_log(tmp_path / "from")
    assert [line["step"] for line in log if "critic_total" in line] == list(range(11, 161))
    assert log[-1]["critic_total"] < 0.5 * log[10]["critic_total"]
    assert log[-1]["adversarial"] > log[10]["adversarial"]
    assert stage.critic_was_frozen == [True] * 150
    assert stage.discriminator is not None
    assert all(parameter.requires_grad for parameter in stage.discriminator.parameters())


def test_a_state_fits_only_stages_with_the_same_networks(tmp_path: Path) -> None:
    train(ToyGan(judged=False), options(tmp_path / "alone"))
    tensors, _ = load_state(tmp_path / "alone" / "state")
    assert {name.partition(".")[0] for name in tensors} == {"model", "average", "optimizer"}
    train(ToyGan(dataclasses.replace(SETTINGS, steps=26), judged=False), options(tmp_path / "alone"))
    with pytest.raises(CheckpointError, match="expected the parts .*critic.*found average, model, optimizer"):
        train(ToyGan(), options(tmp_path / "alone"))
    train(ToyGan(), options(tmp_path / "both"))
    with pytest.raises(CheckpointError, match="found .*critic.*name another run directory"):
        train(ToyGan(judged=False), options(tmp_path / "both"))


def test_an_optimizers_tensors_must_fit_the_groups(tmp_path: Path) -> None:
    train(ToyGan(), options(tmp_path))
    tensors, facts = load_state(tmp_path / "state")
    tensors["optimizer.0.exp_avg"] = torch.zeros(5, 5)
    save_state(tmp_path / "state", tensors, facts)
    with pytest.raises(CheckpointError, match=r"optimizer's tensors .* found 0.exp_avg of shape \(5, 5\)"):
        train(ToyGan(), options(tmp_path))


def test_groups_have_their_own_rate_and_start(tmp_path: Path) -> None:
    moved = []
    for steps, start in ((1, 0), (3, 3), (4, 3)):
        stage = ToyGan(dataclasses.replace(SETTINGS, steps=steps, weight_decay=0.0), judged=False)
        stage.first_from_step = start
        before = weights(stage.model)
        train(stage, options(tmp_path / f"{steps}"))
        after = weights(stage.model)
        moved.append({name: float((after[name] - before[name]).abs().max()) for name in before})
    # Adam's first step is as long as its rate.
    assert moved[0]["3.bias"] == pytest.approx(SETTINGS.lr, rel=1e-3)
    assert moved[0]["0.bias"] == pytest.approx(SETTINGS.lr / 10, rel=1e-3)
    assert moved[1]["0.bias"] == 0.0
    assert 0 < moved[2]["0.bias"] < SETTINGS.lr / 10


def test_a_parameter_without_a_group_is_noticed(tmp_path: Path) -> None:
    class Forgetful(ToyGan):
        def build_parameter_groups(self) -> list[ParameterGroup]:
            return [ParameterGroup(parameters=[next(self.model.parameters())])]

    with pytest.raises(
        ConfigError, match="every parameter of the Sequential in just one group, found 1 in groups and 5 to learn"
    ):
        train(Forgetful(), options(tmp_path))


@pytest.mark.parametrize(("fast", "used"), [(True, "bf16-mixed"), (False, "32-true")])
def test_bfloat16_is_taken_where_it_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool, used: str
) -> None:
    monkeypatch.setattr("cals.training.loop.is_bf16_fast", lambda device: fast)
    settings = dataclasses.replace(SETTINGS, steps=2, precision="bf16-mixed")
    train(ToyGan(settings, judged=False), options(tmp_path))
    start = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert start["precision"] == used


def test_two_processes_train_as_one_in_two_parts(tmp_path: Path) -> None:
    script = Path(__file__).with_name("toy_gan.py")
    command = [sys.executable, str(script), str(tmp_path / "two"), "2", "alone"]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    one = ToyGan(dataclasses.replace(SETTINGS, accumulate=2), judged=False)
    train(one, options(tmp_path / "one"))
    both = [train_log(tmp_path / name) for name in ("two", "one")]
    assert len(both[0]) == len(both[1]) == SETTINGS.steps
    for shared, alone in zip(*both, strict=True):
        assert shared.pop("kind") == alone.pop("kind")
        assert shared == pytest.approx(alone, rel=1e-4)


def test_the_game_is_played_on_two_devices_too(tmp_path: Path) -> None:
    script = Path(__file__).with_name("toy_gan.py")
    command = [sys.executable, str(script), str(tmp_path), "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    start = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert start["world"] == 2
    assert [line["step"] for line in train_log(tmp_path) if "critic_total" in line] == list(range(4, 25))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if line["kind"] == "validation"] == [8, 16, 24]
    ranks = [load_file(tmp_path / f"rank-{rank}.safetensors") for rank in range(2)]
    # Each saw batches of its own; only the exchange of gradients keeps them the same.
    assert all(torch.equal(value, ranks[1][name]) for name, value in ranks[0].items())
    fresh = ToyGan()
    assert not torch.equal(ranks[0]["0.3.bias"], weights(fresh.model)["3.bias"])
    assert not torch.equal(ranks[0]["1.2.bias"], weights(fresh.discriminator)["2.bias"])
