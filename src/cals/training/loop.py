"""The one training loop: any stage, one device or many, stopped and resumed at any step."""

import dataclasses
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric
from lightning.fabric.wrappers import _FabricModule
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from cals.checkpoint import save_checkpoint
from cals.data.windows import step_rng
from cals.errors import ConfigError
from cals.training.journal import Journal
from cals.training.optim import Averaged, lr_share
from cals.training.stage import Losses, Stage
from cals.training.state import flatten, load_state, restore, save_state
from cals.types import ProgressCallback

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how long a stage trains."""

    run: Path
    """The run directory; training goes on from the state it holds, if any."""
    max_minutes: float | None = None
    accelerator: str = "auto"
    devices: int | str = 1


def train(stage: Stage, options: RunOptions, progress: ProgressCallback | None = None) -> dict[str, float]:
    """Train until `stage.train.steps` or `max_minutes`; returns the last validation's metrics."""
    config = stage.train
    fabric = Fabric(accelerator=options.accelerator, devices=options.devices, precision=config.precision)
    fabric.launch()
    torch.manual_seed(config.seed)
    average = Averaged(stage.model.to(fabric.device), config.ema)
    plain = AdamW(stage.model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
    model, optimizer = fabric.setup(stage.model, plain)
    step = _resume(fabric, stage, average, plain, options.run)
    journal = Journal(options.run) if fabric.is_global_zero else None
    if journal is not None:
        journal.cut(step)
        journal.write("start", step, {"device": str(fabric.device), "world": fabric.world_size} | stage.facts())
    started = saved = time.monotonic()
    metrics: dict[str, float] = {}

    def save() -> None:
        _save(fabric, stage, average, plain, options.run, step, metrics)

    while step < config.steps:
        out_of_time = options.max_minutes is not None and time.monotonic() - started > 60 * options.max_minutes
        if _any(fabric, out_of_time):
            break
        losses = _step(fabric, stage, model, optimizer, step)
        average.update(stage.model, step)
        step += 1
        if journal is not None and step % config.log_every == 0:
            journal.write("train", step, {name: float(value.detach()) for name, value in losses.items()})
        if step % config.validate_every == 0:
            metrics = _validate(fabric, stage, average.module, journal, step, options.run)
        if time.monotonic() - saved > config.checkpoint_every_s:
            save()
            saved = time.monotonic()
        if progress is not None:
            progress(step, config.steps)
    if not metrics or step % config.validate_every:
        metrics = _validate(fabric, stage, average.module, journal, step, options.run)
    save()
    if journal is not None:
        journal.draw()
        journal.close()
    return metrics


def _step(fabric: Fabric, stage: Stage, model: _FabricModule, optimizer: torch.optim.Optimizer, step: int) -> Losses:
    config = stage.train
    for group in optimizer.param_groups:
        group["lr"] = config.lr * lr_share(step, config)
    model.train()
    losses: Losses = {}
    for part in range(config.accumulate):
        rng = step_rng(config.seed, step * config.accumulate + part, fabric.global_rank)
        # Dropout draws from torch's own numbers; seeding them by step makes a resumed run the same run.
        torch.manual_seed(int(rng.integers(2**62)))
        with fabric.no_backward_sync(model, enabled=part + 1 < config.accumulate):
            losses = stage.losses(model, rng, fabric.device)
            fabric.backward(losses["total"] / config.accumulate)
    losses["gradient"] = clip_grad_norm_(stage.model.parameters(), config.clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return losses


def _validate(
    fabric: Fabric, stage: Stage, model: nn.Module, journal: Journal | None, step: int, run: Path
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if fabric.is_global_zero:
        with torch.no_grad():
            metrics = stage.validate(model.eval(), fabric.device)
            stage.picture(model, fabric.device, run / "sheet.png")
        if journal is not None:
            journal.write("validation", step, dict(metrics))
            journal.draw()
            advice = stage.advice(step, metrics)
            if advice:
                logger.warning("%s", advice)
                journal.write("advice", step, {"text": advice})
    fabric.barrier()
    return metrics


def _any(fabric: Fabric, flag: bool) -> bool:
    """Whether any process says so; they must stop together."""
    if fabric.world_size == 1:
        return flag
    said = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return isinstance(said, torch.Tensor) and bool(said > 0)


def _save(
    fabric: Fabric, stage: Stage, average: Averaged, optimizer: AdamW, run: Path, step: int, metrics: dict[str, float]
) -> None:
    if fabric.is_global_zero:
        facts = {"step": step, "stage": stage.name, "train": dataclasses.asdict(stage.train)}
        save_state(run / "state", flatten(stage.model, average.module, optimizer), facts)
        save_checkpoint(run / "model", stage.checkpoint(average.module, step, metrics))
    fabric.barrier()


def _resume(fabric: Fabric, stage: Stage, average: Averaged, optimizer: AdamW, run: Path) -> int:
    """Take up the state in `run`; returns the step to go on from."""
    if not (run / "state").is_dir():
        return 0
    tensors, facts = load_state(run / "state")
    expected = json.loads(json.dumps(dataclasses.asdict(stage.train)))
    changed = {k for k, v in expected.items() if facts["train"].get(k) != v} - {"steps", "log_every", "validate_every"}
    if facts["stage"] != stage.name or changed - {"checkpoint_every_s", "precision"}:
        raise ConfigError(
            f"{run}: expected a run of {stage.name} with the same settings, found {facts['stage']} and other "
            f"{sorted(changed) or 'settings'}; name another run directory"
        )
    restore(tensors, stage.model, average.module, optimizer)
    logger.info("going on from step %d of %s", facts["step"], run)
    return int(facts["step"])
