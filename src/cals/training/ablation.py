"""`cals ablation`, its training: the rows of the paper's Table 1 under one budget.

The table marks its baseline with neither A2L nor d_av nor d_vv and gives it the figures that Table 3 has for Wav2Lip:
it is Wav2Lip, whose own expert's sync loss the marks do not count. Our expert is the pair of sync encoders, so its loss
is our d_av. The other rows are read as they are marked: the second one has no sync loss at all. From the first row to
the second two things change, therefore; the row `window`, which the paper does not have, tells them apart.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from cals.checkpoint import load_checkpoint, weights_sha256
from cals.errors import ConfigError, DataError
from cals.files import why
from cals.training.budget import PROBE_STEPS, keep_plan, steps_within
from cals.training.judges import JudgesConfig
from cals.training.loop import RunOptions
from cals.training.presets import L2F, preset
from cals.training.run import Corpus, train_lips
from cals.training.stages.l2f_unet import SYNC_START, UNetStageConfig
from cals.types import ProgressCallback


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a row has of the three; L1 and GAN losses have all of them."""

    a2l: bool
    """Audio-to-Lip; without it Wav2Lip's window of 0.2 s."""
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
"""The rows that are published."""
Decoder = Literal["unet", "debug"]
DECODERS: dict[Decoder, tuple[str, str]] = {
    "unet": ("l2f-grid-ablation", "l2f-grid-wav2lip"),
    "debug": ("l2f-debug-unet", "l2f-debug-wav2lip"),
}
"""Presets of the rows with Audio-to-Lip, and of those without."""
PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """Which rows, and their budget: so many steps each, or as many as the dearest row takes in so many minutes."""

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
    """One row's model and a line on how it came about."""

    name: str
    model: Path
    note: str


def settings(row: Row, decoder: Decoder, steps: int | None = None) -> UNetStageConfig:
    """A row's stage: its preset with the losses it has, over `steps`."""
    config = preset(L2F, DECODERS[decoder][0 if row.a2l else 1])
    assert isinstance(config, UNetStageConfig)
    # Some presets go without the sync losses; here all that have one have it with the same weight.
    usual, own = JudgesConfig(), config.judges
    d_av, d_vv = (own.d_av or usual.d_av) * row.d_av, (own.d_vv or usual.d_vv) * row.d_vv
    train = config.train if steps is None else replace(config.train, steps=steps)
    return replace(config, judges=replace(own, d_av=d_av, d_vv=d_vv), train=train)


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
    """Train each row in `out / NAME`, with the same steps, seed and batches; what is done already is not done again.

    Raises ConfigError when `out` holds an ablation with other settings.
    """
    steps = _planned(config, corpus, sync, a2l, out, accelerator)
    done, total = 0, steps * len(config.rows)

    def report(step: int, _: int | None) -> None:
        if progress is not None:
            progress(done + step, total)

    found = []
    for name in config.rows:
        stage, run = settings(ROWS[name], config.decoder, steps), out / name
        if not (run / "model").is_dir() or load_checkpoint(run / "model").step < steps:
            torch.manual_seed(stage.train.seed)  # the first weights are drawn before the loop sets a seed
            train_lips(stage, corpus, sync, a2l, RunOptions(run=run, accelerator=accelerator), report)
        found.append(TrainedRow(name, run / "model", _note(ROWS[name], stage, run, steps)))
        done += steps
    return found


def _planned(config: AblationConfig, corpus: Corpus, sync: Path, a2l: Path, out: Path, accelerator: str) -> int:
    """Steps of each row: as `out` has it already, or newly found and written there."""
    facts = {
        "decoder": config.decoder,
        "steps_each": config.steps_each,
        "minutes_each": config.minutes_each,
        "a2l": weights_sha256(a2l),
    } | corpus_facts(corpus, sync)

    def plan() -> dict[str, int]:
        minutes = config.minutes_each or 0
        return {"steps": config.steps_each or _steps_in(minutes, config, corpus, sync, a2l, accelerator)}

    return int(keep_plan(out / PLAN, facts, plan)["steps"])


def corpus_facts(corpus: Corpus, sync: Path) -> dict[str, str | None]:
    """What runs are trained on, by checksums."""
    return {
        "corpus": _sha256(corpus.folder / "manifest.jsonl"),
        "splits": None if corpus.splits is None else _sha256(corpus.splits),
        "voices": None if corpus.voices is None else _sha256(corpus.voices / "voices.json"),
        "sync": weights_sha256(sync),
    }


def _steps_in(minutes: float, config: AblationConfig, corpus: Corpus, sync: Path, a2l: Path, accelerator: str) -> int:
    """As many steps as the row with the most losses takes in this time, here and now."""
    dearest = settings(ROWS[max(config.rows, key=lambda name: sum(vars(ROWS[name]).values()))], config.decoder)
    short = replace(dearest, train=replace(dearest.train, steps=PROBE_STEPS, validate_every=PROBE_STEPS))
    short = replace(short, sync_below=None)
    return steps_within(
        minutes, accelerator, lambda options, progress: train_lips(short, corpus, sync, a2l, options, progress)
    )


def _note(row: Row, stage: UNetStageConfig, run: Path, steps: int) -> str:
    losses = ["L1", *(["GAN"] if stage.judges.gan else []), *(name for name in ("d_av", "d_vv") if getattr(row, name))]
    hears = "Audio-to-Lip" if row.a2l else "0.2 s of sound a frame"
    note = f"{hears}; {' + '.join(losses)}; {steps} steps"
    waits = stage.sync_below is not None and stage.judges.listen
    if not waits:
        return note
    start = run / SYNC_START
    begun = f"from step {json.loads(start.read_text(encoding='utf-8'))['step']}" if start.is_file() else "never begun"
    return f"{note}; sync losses {begun}"


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: expected to read it, found {why(error)}; name another folder or file") from error
