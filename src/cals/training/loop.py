"""The training loop of all stages: on one or many devices, resumable at any step."""

import dataclasses
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from filelock import FileLock, Timeout
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from cals.checkpoint import save_checkpoint
from cals.data.windows import build_step_rng
from cals.errors import ConfigError, DataError
from cals.files import recover_folder
from cals.nn.precision import is_bf16_fast
from cals.training.chance import ChanceMonitor
from cals.training.config import TrainConfig
from cals.training.optim import ExponentialMovingAverage, ParameterGroup, build_adamw, set_learning_rates
from cals.training.run_log import RunLog
from cals.training.stage import Losses, Stage
from cals.training.state import TrainingState, load_state, save_state
from cals.types import ProgressCallback

logger = logging.getLogger(__name__)

CURVES_INTERVAL_S = 60.0
"""Shortest time between two plots of the curves, but for the last one."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how long a stage trains."""

    run: Path
    """The run directory; training resumes from the state in it, if any."""
    max_minutes: float | None = None
    accelerator: str = "auto"
    devices: int | str = 1
    seed: int = 0
    """Added to the preset's."""


def train(stage: Stage, options: RunOptions, progress: ProgressCallback | None = None) -> dict[str, float]:
    """Train until `stage.train.steps` or `max_minutes`; returns the last validation's metrics.

    A start that stays at chance is restarted, `stage.train.restarts` times at most; DataError when the last one does.
    ConfigError where another process trains in the same run directory.
    """
    fabric, precision = _launch(stage.train, options)
    with _lock_run(options.run) if fabric.is_global_zero else nullcontext():
        return _train(stage, options, fabric, precision, progress)


@contextmanager
def _lock_run(run: Path) -> Iterator[None]:
    """Hold a run directory, so that no two processes mix their logs and states; it is free when the process dies."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"{run}: expected a run directory for this process alone, found another that trains in it; wait for it, or "
            "name another --run"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _train(
    stage: Stage, options: RunOptions, fabric: Fabric, precision: str, progress: ProgressCallback | None
) -> dict[str, float]:
    config = stage.train
    torch.manual_seed(config.seed)
    average = ExponentialMovingAverage(stage.model.to(fabric.device), config.ema)
    network = _NetworkTrainer(fabric, stage.model, stage.build_parameter_groups(), config.lr, config)
    discriminator = _setup_discriminator(fabric, stage)
    state = _collect_state(network, average, discriminator)
    watch = ChanceMonitor(stage)
    step = stage.step = _resume(stage, state, watch, options.run)
    run_log = RunLog(options.run) if fabric.is_global_zero else None
    if run_log is not None:
        run_log.truncate(step)
        facts = {"device": str(fabric.device), "world": fabric.world_size, "precision": precision}
        run_log.write("start", step, facts | stage.describe_run())
    started = saved = time.monotonic()
    metrics: dict[str, float] = {}
    validated = -1  # at which step; known to every process, while only the first one has metrics
    stuck = False

    def save() -> None:
        _save(fabric, stage, state, watch, options.run, metrics)

    while step < config.steps:
        out_of_time = options.max_minutes is not None and time.monotonic() - started > 60 * options.max_minutes
        if _any_process(fabric, out_of_time):
            break
        losses = _step(fabric, stage, network, discriminator)
        average.update(stage.model, step)
        step = stage.step = step + 1
        watch.record(losses["total"])
        if step % config.log_every == 0:
            means = _mean_over_processes(fabric, losses)
            if run_log is not None:
                run_log.write("train", step, means)
        if step == watch.due_step and _any_process(fabric, watch.is_stuck()):
            if stuck := stage.restarts >= config.restarts:
                break
            step, metrics, validated = _restart(stage, state, watch, run_log), {}, -1
            save()
            continue
        if step % config.validate_every == 0:
            metrics, validated = _validate(fabric, stage, average.module, run_log, step, options.run), step
        if _any_process(fabric, time.monotonic() - saved > config.checkpoint_every_s):
            save()
            saved = time.monotonic()
        if progress is not None:
            progress(step, config.steps)
    if validated != step:
        metrics = _validate(fabric, stage, average.module, run_log, step, options.run)
    save()
    if run_log is not None:
        run_log.plot_curves()
        run_log.close()
    if stuck:
        raise DataError(watch.describe_failure(options.run))
    return metrics


def resolve_device(accelerator: str) -> torch.device:
    """Return the device that a process trains on, of several GPUs its own; known before the processes are launched."""
    if accelerator == "mps" or (accelerator in ("auto", "gpu") and torch.backends.mps.is_available()):
        return torch.device("mps")
    if accelerator in ("cuda", "gpu") or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def _launch(config: TrainConfig, options: RunOptions) -> tuple[Fabric, str]:
    """Launch the processes; returns Fabric and the precision: bfloat16 only where it is fast, unlike on many CPUs."""
    fast = is_bf16_fast(resolve_device(options.accelerator))
    precision: Literal["32-true", "bf16-mixed"] = config.precision if fast else "32-true"
    fabric = Fabric(accelerator=options.accelerator, devices=options.devices, precision=precision)
    fabric.launch()
    return fabric, precision


class _NetworkTrainer:
    """A network and its optimiser, both plain, for the state, and wrapped by Fabric, for the step."""

    def __init__(
        self, fabric: Fabric, module: nn.Module, groups: Sequence[ParameterGroup], lr: float, config: TrainConfig
    ) -> None:
        self.module, self._config = module, config
        self.raw_optimizer = build_adamw(module, groups, lr, config)
        self.model, self._optimizer = fabric.setup(module, self.raw_optimizer)

    def begin(self, step: int) -> None:
        """Set learning rates and training mode."""
        set_learning_rates(self.raw_optimizer, step, self._config)
        self.model.train()

    def finish(self) -> Tensor:
        """Clip the gradients and step the optimiser; returns the norm before clipping."""
        for group in self.raw_optimizer.param_groups:
            if group["lr"] == 0:  # not started yet: neither updated nor part of the norm
                for parameter in group["params"]:
                    parameter.grad = None
        norm = clip_grad_norm_(self.module.parameters(), self._config.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm


def _setup_discriminator(fabric: Fabric, stage: Stage) -> _NetworkTrainer | None:
    if stage.discriminator is None:
        return None
    group = ParameterGroup(parameters=list(stage.discriminator.to(fabric.device).parameters()))
    return _NetworkTrainer(fabric, stage.discriminator, [group], stage.discriminator_lr, stage.train)


@contextmanager
def _freeze(trainer: _NetworkTrainer | None) -> Iterator[None]:
    """Freeze the network's weights; gradients still pass through it."""
    weights = [p for p in trainer.module.parameters() if p.requires_grad] if trainer is not None else []
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def _step(fabric: Fabric, stage: Stage, network: _NetworkTrainer, discriminator: _NetworkTrainer | None) -> Losses:
    """Train the network for one step and, on its output, the discriminator; both use the weights before the step.

    Losses are means over the accumulated batches. The batches of several processes are those that a single process
    would accumulate, so that both are the same training.
    """
    config, step = stage.train, stage.step
    trained = discriminator if stage.is_discriminator_trained else None
    for trainer in (network, discriminator):
        if trainer is not None:
            trainer.begin(step)
    means: Losses = {}
    for part in range(config.accumulate):
        batch = (step * config.accumulate + part) * fabric.world_size + fabric.global_rank
        rng = build_step_rng(stage.seed, batch)
        # Dropout uses torch's global generator; seeding it by step makes a resumed run identical.
        torch.manual_seed(int(rng.integers(2**62)))
        accumulating = part + 1 < config.accumulate
        with _freeze(discriminator), fabric.no_backward_sync(network.model, enabled=accumulating):
            losses = stage.compute_losses(network.model, rng, fabric.device)
            fabric.backward(losses["total"] / config.accumulate)
        if trained is not None:
            with fabric.no_backward_sync(trained.model, enabled=accumulating):
                disc_losses = stage.compute_discriminator_losses(trained.model)
                fabric.backward(disc_losses["total"] / config.accumulate)
            losses |= {f"critic_{name}": value for name, value in disc_losses.items()}
        for name, value in losses.items():
            means[name] = means.get(name, torch.zeros(())) + value.detach() / config.accumulate
    means["gradient"] = network.finish()
    if trained is not None:
        means["critic_gradient"] = trained.finish()
    return means


def _mean_over_processes(fabric: Fabric, losses: Losses) -> dict[str, float]:
    names = sorted(losses)
    values = torch.stack([losses[name].detach().float() for name in names])
    if fabric.world_size > 1:
        values = cast(Tensor, fabric.all_reduce(values, reduce_op="mean"))
    return dict(zip(names, values.tolist(), strict=True))


def _validate(
    fabric: Fabric, stage: Stage, model: nn.Module, run_log: RunLog | None, step: int, run: Path
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if fabric.is_global_zero:
        with torch.no_grad():
            metrics = stage.validate(model.eval(), fabric.device)
            stage.write_sheet(model, fabric.device, run / "sheet.png")
        if run_log is not None:
            run_log.write("validation", step, dict(metrics))
            run_log.plot_curves(every_s=CURVES_INTERVAL_S)
            advice = stage.build_advice(step, metrics)
            if advice:
                logger.warning("%s", advice)
                run_log.write("advice", step, {"text": advice})
    fabric.barrier()
    return metrics


def _any_process(fabric: Fabric, flag: bool) -> bool:
    """Return whether the flag is set in any process; they must stop, and save, together."""
    if fabric.world_size == 1:
        return flag
    votes = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return isinstance(votes, torch.Tensor) and bool(votes > 0)


def _restart(stage: Stage, state: TrainingState, watch: ChanceMonitor, run_log: RunLog | None) -> int:
    """Restart training with the next seed; the run log keeps one line of the failed start. Returns step 0."""
    message = watch.describe()
    stage.restarts += 1
    logger.warning("%s; beginning anew, from seed %d", message, stage.seed)
    if run_log is not None:
        run_log.truncate(0)
        run_log.write("restart", 0, {"number": stage.restarts, "seed": stage.seed, "text": message})
    stage.reset_weights()
    state.reset()
    watch.losses.clear()
    stage.step = 0
    return stage.step


def _collect_state(
    network: _NetworkTrainer, average: ExponentialMovingAverage, discriminator: _NetworkTrainer | None
) -> TrainingState:
    modules, optimizers = {"model": network.module, "average": average.module}, {"optimizer": network.raw_optimizer}
    if discriminator is not None:
        modules["critic"], optimizers["critic_optimizer"] = discriminator.module, discriminator.raw_optimizer
    return TrainingState(modules, optimizers)


def _save(
    fabric: Fabric, stage: Stage, state: TrainingState, watch: ChanceMonitor, run: Path, metrics: dict[str, float]
) -> None:
    if fabric.is_global_zero:
        step, start = stage.step, {"restarts": stage.restarts, "losses": watch.losses}
        facts = {"step": step, "stage": stage.name, "train": dataclasses.asdict(stage.train), "start": start}
        save_state(run / "state", state.to_tensors(), facts)
        save_checkpoint(run / "model", stage.build_checkpoint(state.modules["average"], step, metrics))
    fabric.barrier()


def _resume(stage: Stage, state: TrainingState, watch: ChanceMonitor, run: Path) -> int:
    """Load the state in `run`; returns the step to resume from."""
    for part in ("state", "model"):
        recover_folder(run / part)
    if not (run / "state").is_dir():
        return 0
    tensors, facts = load_state(run / "state")
    expected = json.loads(json.dumps(dataclasses.asdict(stage.train)))
    changed = {k for k, v in expected.items() if facts["train"].get(k, v) != v}  # an older state lacks newer settings
    changed -= {"steps", "log_every", "validate_every", "patience", "restarts"}
    if facts["stage"] != stage.name or changed - {"checkpoint_every_s", "precision"}:
        raise ConfigError(
            f"{run}: expected a run of {stage.name} with the same settings, found {facts['stage']} and other "
            f"{sorted(changed) or 'settings'}; name another run directory"
        )
    state.load_tensors(tensors)
    start = facts.get("start", {})
    stage.restarts = start.get("restarts", 0)
    watch.losses = start.get("losses", [])
    logger.info("going on from step %d of %s", facts["step"], run)
    return int(facts["step"])
