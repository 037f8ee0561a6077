"""The training of `cals compare`: the systems of the paper's Table 3, for the same time on the same data."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from cals.checkpoint import load_checkpoint
from cals.errors import ConfigError
from cals.training.ablation import TrainedRow, compute_corpus_checksums
from cals.training.budget import PROBE_STEPS, estimate_steps, load_or_create_plan
from cals.training.config import TrainConfig
from cals.training.loop import RunOptions
from cals.training.presets import A2L, L2F, get_preset
from cals.training.run import Corpus, train_a2l_stage, train_l2f_stage
from cals.types import ProgressCallback

Size = Literal["small", "debug"]
Stage = TypeVar("Stage", bound=Any)


@dataclass(frozen=True)
class System:
    """The presets of a system."""

    l2f: str
    a2l: str | None = None
    """Preset of Audio-to-Lip, which takes `A2L_SHARE` of the time; None for a system without it."""


A2L_SHARE = 1 / 3
SYSTEMS: dict[Size, dict[str, System]] = {
    "small": {
        "audio2head": System("l2f-grid-small-audio2head"),
        "pcavs": System("l2f-grid-small-pcavs"),
        "wav2lip": System("l2f-grid-wav2lip"),
        "synctalkface": System("l2f-grid-synctalkface"),
        "cals": System("l2f-grid-ablation", a2l="a2l-grid-mel"),
        "cals-mesh": System("l2f-grid-small", a2l="a2l-grid-small"),
        "nomemory": System("l2f-grid-synctalkface-nomemory"),
    },
    "debug": {
        "audio2head": System("l2f-debug-audio2head"),
        "pcavs": System("l2f-debug-pcavs"),
        "wav2lip": System("l2f-debug-wav2lip"),
        "synctalkface": System("l2f-debug-synctalkface"),
        "cals": System("l2f-debug-unet", a2l="a2l-debug"),
        "cals-mesh": System("l2f-debug", a2l="a2l-debug"),
        "nomemory": System("l2f-debug-synctalkface-nomemory"),
    },
}
"""`cals` is as published: a mel front-end and a U-Net. `cals-mesh` is the released model: a phonetic front-end and
a mesh that warps the person's own pixels. `nomemory` is SyncTalkFace without its memory, an ablation."""
SYSTEM_NAMES = tuple(SYSTEMS["small"])
ABLATIONS = ("nomemory",)
TABLE_SYSTEMS = tuple(name for name in SYSTEM_NAMES if name not in ABLATIONS)
"""The systems that are trained by default: those of Table 3, and the released model."""


@dataclass(frozen=True, kw_only=True)
class SystemsConfig:
    """The systems, and the budget of each: minutes on this machine, or steps of every stage."""

    systems: tuple[str, ...] = TABLE_SYSTEMS
    size: Size = "small"
    minutes_each: float | None = None
    steps_each: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.systems or not set(self.systems) <= set(SYSTEM_NAMES) or len(set(self.systems)) < len(self.systems):
            raise ConfigError(
                f"systems: expected some of {', '.join(SYSTEM_NAMES)}, each once, found "
                f"{', '.join(self.systems) or 'none'}"
            )
        if (self.steps_each is None) == (self.minutes_each is None):
            raise ConfigError("compare: expected either --minutes-each or --steps-each, found both or none; give one")
        if (self.steps_each or self.minutes_each or 0) <= 0:
            raise ConfigError(f"compare: expected a budget above 0, found {self.steps_each or self.minutes_each}")


def train_systems(
    config: SystemsConfig,
    corpus: Corpus,
    sync: Path,
    out: Path,
    *,
    accelerator: str = "auto",
    progress: ProgressCallback | None = None,
) -> list[TrainedRow]:
    """Train each system in `out / NAME`; finished stages are skipped.

    No stage takes more steps than its preset says. Raises ConfigError when `out` holds runs with other settings.
    """
    facts = {"size": config.size, "minutes_each": config.minutes_each, "steps_each": config.steps_each}
    load_or_create_plan(out / "plan.json", facts | {"seed": config.seed} | compute_corpus_checksums(corpus, sync), dict)
    trained = []
    for number, name in enumerate(config.systems):

        def report(step: int, total: int | None, number: int = number) -> None:
            if progress is not None:  # in thousandths of all systems
                share = step / total if total else 0
                progress(round(1000 * (number + share) / len(config.systems)), 1000)

        training = _SystemTraining(config, SYSTEMS[config.size][name], corpus, sync, out / name, accelerator, report)
        trained.append(TrainedRow(name, *training.run()))
    return trained


@dataclass(frozen=True)
class _SystemTraining:
    config: SystemsConfig
    system: System
    corpus: Corpus
    sync: Path
    out: Path
    accelerator: str
    report: ProgressCallback

    def run(self) -> tuple[Path, str]:
        """Train the system; returns the model's folder and a line on its training."""
        a2l, share, steps = None, 1.0, {}
        if self.system.a2l is not None:
            a2l, share = self.out / "a2l" / "model", 1 - A2L_SHARE
            a2l_config = _add_seed(get_preset(A2L, self.system.a2l), self.config.seed)
            steps["Audio-to-Lip"] = self._train(
                "a2l", a2l_config, A2L_SHARE, lambda *run: train_a2l_stage(run[0], self.corpus, self.sync, *run[1:])
            )
        l2f_config = _add_seed(get_preset(L2F, self.system.l2f), self.config.seed)
        steps["Lip-to-Face"] = self._train(
            "l2f", l2f_config, share, lambda *run: train_l2f_stage(run[0], self.corpus, self.sync, a2l, *run[1:])
        )
        presets = ", ".join(name for name in (self.system.a2l, self.system.l2f) if name is not None)
        return self.out / "l2f" / "model", f"{presets}; " + ", ".join(
            f"{count} steps of {part}" for part, count in steps.items()
        )

    def _train(self, part: str, stage: Stage, share: float, train: Any) -> int:
        """Train one stage for its share of the time; returns its steps."""

        def plan() -> dict[str, int]:
            if self.config.steps_each is not None:
                return {"steps": min(self.config.steps_each, stage.train.steps)}
            minutes = share * (self.config.minutes_each or 0)
            probe = _shorten(stage)
            estimated = estimate_steps(minutes, self.accelerator, lambda *run: train(probe, *run))
            return {"steps": min(estimated, stage.train.steps)}

        steps = int(load_or_create_plan(self.out / f"{part}.json", {}, plan)["steps"])
        run = self.out / part
        if not (run / "model").is_dir() or load_checkpoint(run / "model").step < steps:
            every = min(stage.train.validate_every, max(1, steps // 4))
            config = _replace_train(stage, steps=steps, validate_every=every)
            train(config, RunOptions(run=run, accelerator=self.accelerator), self.report)
        return steps


def _add_seed(stage: Stage, seed: int) -> Stage:
    return _replace_train(stage, seed=stage.train.seed + seed)


def _shorten(stage: Stage) -> Stage:
    """Return the config for timing: `PROBE_STEPS` steps, with all losses from the start."""
    probe = _replace_train(stage, steps=PROBE_STEPS, validate_every=PROBE_STEPS)
    return replace(probe, sync_below=None) if hasattr(probe, "sync_below") else probe


def _replace_train(stage: Stage, **changes: Any) -> Stage:
    train: TrainConfig = replace(stage.train, **changes)
    return replace(stage, train=train)
