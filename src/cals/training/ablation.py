"""The training of `cals ablation`: the rows of the paper's Table 1 under one budget.

The table's baseline has neither A2L nor d_av nor d_vv, and the figures of Wav2Lip in Table 3. It is Wav2Lip; the marks
do not count the sync loss of its own expert. Our expert is the pair of sync encoders, so that loss is our d_av.

The other rows have the losses that are marked: the second one has no sync loss at all. Two things change therefore from
the first row to the second. The row `window`, which the paper does not have, separates them.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.errors import ConfigError, DataError
from cals.files import describe_os_error
from cals.training.budget import PROBE_STEPS, estimate_steps, load_or_create_plan
from cals.training.loop import RunOptions
from cals.training.perceptual import PerceptualLossConfig
from cals.training.presets import L2F, get_preset
from cals.training.run import Corpus, train_l2f_stage
from cals.training.stages.l2f_unet import SYNC_START_FILE, UNetStageConfig
from cals.types import ProgressCallback


@dataclass(frozen=True, kw_only=True)
class Row:
    """The parts of a row; all rows have L1 and GAN losses."""

    a2l: bool
    """Whether the row has Audio-to-Lip; else it has Wav2Lip's window of 0.2 s."""
    d_av: bool
    d_vv: bool


ROWS: dict[str, Row] = {
    "wav2lip": Row(a2l=False, d_av=True, d_vv=False),
    "a2l": Row(a2l=True, d_av=False, d_vv=False),
    "a2l+d_av": Row(a2l=True, d_av=True, d_vv=False),
    "a2l+d_av+d_vv": Row(a2l=True, d_av=True, d_vv=True),
    "window": Row(a2l=False, d_av=False, d_vv=False),
}
TABLE_1 = ("wav2lip", "a2l", "a2l+d_av", "a2l+d_av+d_vv")
"""The published rows."""
Decoder = Literal["unet", "debug"]
DECODERS: dict[Decoder, tuple[str, str]] = {
    "unet": ("l2f-grid-ablation", "l2f-grid-wav2lip"),
    "debug": ("l2f-debug-unet", "l2f-debug-wav2lip"),
}
"""Presets of rows with Audio-to-Lip, and of rows without."""
PLAN_FILE = "plan.json"


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """The rows and their budget: steps each, or the steps of the most expensive row in `minutes_each`."""

    rows: tuple[str, ...] = TABLE_1
    decoder: Decoder = "unet"
    steps_each: int | None = None
    minutes_each: float | None = None

    def __post_init__(self) -> None:
        if not self.rows or not set(self.rows) <= ROWS.keys() or len(set(self.rows)) < len(self.rows):
            raise ConfigError(f"rows: expected some of {', '.join(ROWS)}, each once, found {', '.join(self.rows)}")
        if (self.steps_each is None) == (self.minutes_each is None):
            raise ConfigError("ablation: expected either --minutes-each or --steps-each, found both or none; give one")
        if (self.steps_each or self.minutes_each or 0) <= 0:
            raise ConfigError(f"ablation: expected a budget above 0, found {self.steps_each or self.minutes_each}")


@dataclass(frozen=True)
class TrainedRow:
    """One row's model and a line on its training."""

    name: str
    model: Path
    note: str


def build_stage_config(row: Row, decoder: Decoder, steps: int | None = None) -> UNetStageConfig:
    """Build a row's stage config: its preset with the row's losses, over `steps`."""
    config = get_preset(L2F, DECODERS[decoder][0 if row.a2l else 1])
    assert isinstance(config, UNetStageConfig)
    # Some presets have no sync losses; here all rows with such a loss have the same weight for it.
    default, weights = PerceptualLossConfig(), config.perceptual
    d_av, d_vv = (weights.d_av or default.d_av) * row.d_av, (weights.d_vv or default.d_vv) * row.d_vv
    train = config.train if steps is None else replace(config.train, steps=steps)
    return replace(config, perceptual=replace(weights, d_av=d_av, d_vv=d_vv), train=train)


def train_rows(
    config: AblationConfig,
    corpus: Corpus,
    sync: Path,
    a2l: Path,
    out: Path,
    *,
    accelerator: str = "auto",
    progress: ProgressCallback | None = None,
) -> list[TrainedRow]:
    """Train each row in `out / NAME`, with the same steps, seed and batches; finished rows are skipped.

    Raises ConfigError when `out` holds an ablation with other settings.
    """
    steps = _load_or_plan_steps(config, corpus, sync, a2l, out, accelerator)
    finished, total = 0, steps * len(config.rows)

    def report(step: int, _: int | None) -> None:
        if progress is not None:
            progress(finished + step, total)

    rows = []
    for name in config.rows:
        stage, run = build_stage_config(ROWS[name], config.decoder, steps), out / name
        if not (run / "model").is_dir() or load_checkpoint(run / "model").step < steps:
            torch.manual_seed(stage.train.seed)  # weights are initialised before the loop sets a seed
            train_l2f_stage(stage, corpus, sync, a2l, RunOptions(run=run, accelerator=accelerator), report)
        rows.append(TrainedRow(name, run / "model", _describe_row(ROWS[name], stage, run, steps)))
        finished += steps
    return rows


def _load_or_plan_steps(
    config: AblationConfig, corpus: Corpus, sync: Path, a2l: Path, out: Path, accelerator: str
) -> int:
    """Return the steps of each row: read from `out`, or estimated and written there."""
    facts = {
        "decoder": config.decoder,
        "steps_each": config.steps_each,
        "minutes_each": config.minutes_each,
        "a2l": compute_weights_sha256(a2l),
    } | compute_corpus_checksums(corpus, sync)

    def plan() -> dict[str, int]:
        minutes = config.minutes_each or 0
        return {"steps": config.steps_each or _estimate_steps(minutes, config, corpus, sync, a2l, accelerator)}

    return int(load_or_create_plan(out / PLAN_FILE, facts, plan)["steps"])


def compute_corpus_checksums(corpus: Corpus, sync: Path) -> dict[str, str | None]:
    """Compute checksums of the training data and the sync encoders."""
    return {
        "corpus": _hash_file(corpus.folder / "manifest.jsonl"),
        "splits": None if corpus.splits is None else _hash_file(corpus.splits),
        "voices": None if corpus.voices is None else _hash_file(corpus.voices / "voices.json"),
        "sync": compute_weights_sha256(sync),
    }


def _estimate_steps(
    minutes: float, config: AblationConfig, corpus: Corpus, sync: Path, a2l: Path, accelerator: str
) -> int:
    """Estimate how many steps the row with the most losses takes in this time on this machine."""
    most_losses = build_stage_config(
        ROWS[max(config.rows, key=lambda name: sum(vars(ROWS[name]).values()))], config.decoder
    )
    probe = replace(most_losses, train=replace(most_losses.train, steps=PROBE_STEPS, validate_every=PROBE_STEPS))
    probe = replace(probe, sync_below=None)
    return estimate_steps(
        minutes, accelerator, lambda options, progress: train_l2f_stage(probe, corpus, sync, a2l, options, progress)
    )


def _describe_row(row: Row, stage: UNetStageConfig, run: Path, steps: int) -> str:
    losses = [
        "L1",
        *(["GAN"] if stage.perceptual.gan else []),
        *(name for name in ("d_av", "d_vv") if getattr(row, name)),
    ]
    audio_input = "Audio-to-Lip" if row.a2l else "0.2 s of sound a frame"
    note = f"{audio_input}; {' + '.join(losses)}; {steps} steps"
    is_delayed = stage.sync_below is not None and stage.perceptual.has_sync_losses
    if not is_delayed:
        return note
    start = run / SYNC_START_FILE
    start_note = (
        f"from step {json.loads(start.read_text(encoding='utf-8'))['step']}" if start.is_file() else "never begun"
    )
    return f"{note}; sync losses {start_note}"


def _hash_file(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"{path}: expected to read it, found {describe_os_error(error)}; name another folder or file"
        ) from error
