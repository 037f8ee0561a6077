"""Scores of `cals compare`: systems on held-out clips by one protocol, beside the paper's Table 3."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cals import hub
from cals.errors import ConfigError
from cals.evaluation.ablation.order import Scores, describe_order
from cals.evaluation.ablation.table_3 import TABLE_3, PaperCorpus
from cals.evaluation.offsets import load_sync
from cals.evaluation.outputs import REAL
from cals.evaluation.protocol.pair_scorer import EvaluationConfig
from cals.evaluation.protocol.pairs import Kind, PairsConfig, draw_pairs
from cals.evaluation.protocol.report import EvaluationReport
from cals.evaluation.protocol.run import check_folders, evaluate
from cals.evaluation.reading.lip_reading import load_reader
from cals.evaluation.reading.readability import ReadabilityConfig, measure_readability
from cals.evaluation.reading.readings import ALL as ALL_WORDS
from cals.files import replace_atomically
from cals.inference.lipsync import LipSync
from cals.metrics.bootstrap import Estimate, estimate_mean
from cals.report.tables import format_table
from cals.types import ProgressCallback

FILES = ("compare.json", "compare.md")
PAIRS_FOLDER, ROLLED_FOLDER, READING_FOLDER = "pairs", "rolled", "readability"
COLUMNS: dict[str, tuple[Kind, str, int]] = {
    "psnr": ("self", "PSNR", 2),
    "ssim": ("self", "SSIM", 3),
    "lmd": ("self", "LMD", 3),
    "lse_d": ("cross", "LSE-D", 3),
    "lse_c": ("cross", "LSE-C", 3),
    "psnr_lips": ("self", "mouth PSNR", 2),
    "opening": ("self", "opening r", 2),
    "width": ("self", "width r", 2),
    "leak": ("rolled", "leak", 2),
}
"""Measures of the table: kind of pairs, title and digits."""
LEGEND = """\
- PSNR, SSIM, LMD, mouth PSNR, opening and width: each face says its own sound. LSE-D and LSE-C: another's, by our sync
  encoders, whose scale is not SyncNet's. leak: its own sound, rolled by half its length; how far the mouth follows the
  face's own clip instead of the sound (0 is best). readability: words read right on generated lips, own sound.
- Values are means over clips, in brackets their 95 % bootstrap intervals. The paper's figures are of other corpora and
  of full training, ours of one small budget for each: only the order is compared. Two systems are told apart where the
  interval of their difference leaves out 0.
- Every system's time is its own training alone: the sync encoders, which all are given, came before.
"""


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Clips that systems are scored on, and the models that score them."""

    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    clips: int | None = None
    """Maximum number of clips a part."""
    seconds: float = 10.0
    seed: int = 0
    paper: PaperCorpus = "lrs2"
    """Corpus whose published order is compared."""
    generated: tuple[tuple[str, Path], ...] = ()
    """Names in the table, and folders with the outputs of other systems, called by the ids in pairs.json."""
    sync: Path | None = None
    """Sync encoders that score; None for those that ship."""
    reader: Path | None = None
    """Lip reader that scores readability; None for no such column."""
    workers: int = 1
    device: str = "cpu"
    face_models: Path | None = None


@dataclass(frozen=True)
class ComparisonReport:
    """Scores of the systems beside the published ones."""

    notes: Mapping[str, str]
    """System -> how it was trained."""
    scores: Scores
    paper: PaperCorpus
    readings: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    """Part -> system -> share of words read right."""

    def format_tables(self) -> str:
        """Format a table for each part, then the paper's."""
        blocks = []
        for part, rows in self.scores.items():
            reads = self.readings.get(part, {})
            head = [
                f"{part}",
                "clips",
                *(title for _, title, _ in COLUMNS.values()),
                *(["readability"] if reads else []),
            ]
            lines = [
                [
                    row,
                    str(max(map(len, values.values()), default=0)),
                    *(_format_cell(values.get(name, {}), digits) for name, (_, _, digits) in COLUMNS.items()),
                    *([_format_estimate(reads[row], 3) if row in reads else ""] if reads else []),
                ]
                for row, values in rows.items()
            ]
            blocks.append(format_table(head, lines))
        for corpus, published in TABLE_3.items():
            head = [f"paper, {corpus.upper()}", *(COLUMNS[name][1] for name in next(iter(published.values())))]
            blocks.append(format_table(head, [[row, *map(str, values.values())] for row, values in published.items()]))
        return "\n\n".join(blocks)

    def format_text(self) -> str:
        """Format the tables, and the order in words."""
        order = describe_order(self.scores, TABLE_3[self.paper])
        return "\n\n".join(
            [self.format_tables(), f"Order, beside the paper's on {self.paper.upper()}:", "\n".join(order)]
        )

    def format_markdown(self) -> str:
        """Format the report as Markdown."""
        how = "\n".join(f"- {name}: {note}" for name, note in self.notes.items())
        pages = f"[{PAIRS_FOLDER}]({PAIRS_FOLDER}/index.html), [{ROLLED_FOLDER}]({ROLLED_FOLDER}/index.html)"
        picture = f"![the same moments of every system]({ROLLED_FOLDER}/sheet.png)"
        return f"# Systems (Table 3)\n\n{how}\n\n{self.format_text()}\n\n{LEGEND}\nWhole reports: {pages}.\n\n{picture}"

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        means = {
            part: {
                row: {
                    name: estimate_mean(np.array(list(values.values())))._asdict() for name, values in measures.items()
                }
                for row, measures in rows.items()
            }
            for part, rows in self.scores.items()
        }
        reads = {part: {row: e._asdict() for row, e in rows.items()} for part, rows in self.readings.items()}
        order = describe_order(self.scores, TABLE_3[self.paper])
        return {"format": 1, "systems": dict(self.notes), "means": means, "readability": reads, "order": order}


def check_comparison(names: Sequence[str], videos: Path, splits: Path | None, config: CompareConfig) -> None:
    """Raise CalsError for what `compare_systems` would refuse after the systems of these names were trained."""
    if config.reader is not None:
        if splits is None:
            raise ConfigError("compare: expected --splits with --reader, found none; name the splits")
        load_reader(config.reader)
    load_sync(config.sync or hub.BUILTIN_WEIGHTS / hub.DEFAULT_MODEL / "sync")
    check_folders(
        _build_evaluation(dict.fromkeys(names, Path()), config, rolled=False),
        draw_pairs(videos, splits, _build_pairs(config, rolled=False)),
    )


def compare_systems(
    models: Mapping[str, Path],
    notes: Mapping[str, str],
    videos: Path,
    splits: Path | None,
    out: Path,
    config: CompareConfig,
    *,
    progress: ProgressCallback | None = None,
) -> ComparisonReport:
    """Score the systems' models; writes `FILES` to `out`, and whole reports below it.

    Earlier scores are kept if the models are the same. Raises DataError when nothing can be scored.
    """
    check_comparison(list(models), videos, splits, config)
    reports = {
        rolled: _evaluate(models, videos, splits, out / folder, config, rolled=rolled, progress=progress)
        for rolled, folder in ((False, PAIRS_FOLDER), (True, ROLLED_FOLDER))
    }
    report = ComparisonReport(
        notes=notes,
        scores=_gather(reports[False], reports[True]),
        paper=config.paper,
        readings=_measure_readability(models, videos, splits, out / READING_FOLDER, config, progress),
    )
    texts = (json.dumps(report.document(), indent=1), report.format_markdown())
    for name, text in zip(FILES, texts, strict=True):
        with replace_atomically(out / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    return report


def _evaluate(
    models: Mapping[str, Path],
    videos: Path,
    splits: Path | None,
    out: Path,
    config: CompareConfig,
    *,
    rolled: bool,
    progress: ProgressCallback | None,
) -> EvaluationReport:
    return evaluate(
        videos,
        draw_pairs(videos, splits, _build_pairs(config, rolled=rolled)),
        out,
        _build_evaluation(models, config, rolled=rolled),
        force=True,
        progress=progress,
    )


def _build_pairs(config: CompareConfig, *, rolled: bool) -> PairsConfig:
    return PairsConfig(parts=config.parts, clips=config.clips, seconds=config.seconds, seed=config.seed, rolled=rolled)


def _build_evaluation(models: Mapping[str, Path], config: CompareConfig, *, rolled: bool) -> EvaluationConfig:
    return EvaluationConfig(
        models=tuple((name, str(folder)) for name, folder in models.items()),
        generated=() if rolled else config.generated,
        sync=config.sync,
        copy=False,
        shown=1,
        workers=config.workers,
        device=config.device,
        face_models=config.face_models,
    )


def _gather(pairs: EvaluationReport, rolled: EvaluationReport) -> Scores:
    """Gather part -> system -> measure -> clip -> value, of the measures in the table."""
    scores: Scores = {}
    for result in (*pairs.results, *rolled.results):
        rows = {row: values for row, values in result.scores.items() if row != REAL}
        for row, values in rows.items():
            measures = scores.setdefault(result.pair.part, {}).setdefault(row, {})
            for name, (kind, _, _) in COLUMNS.items():
                if kind == result.pair.kind and np.isfinite(values.get(name, np.nan)):
                    measures.setdefault(name, {})[result.pair.face] = float(values[name])
    return scores


def _measure_readability(
    models: Mapping[str, Path],
    videos: Path,
    splits: Path | None,
    out: Path,
    config: CompareConfig,
    progress: ProgressCallback | None,
) -> dict[str, dict[str, Estimate]]:
    if config.reader is None or splits is None:
        return {}
    lips = {
        name: LipSync(folder, face_models=config.face_models, device=config.device) for name, folder in models.items()
    }
    reading = measure_readability(
        videos,
        splits,
        config.reader,
        lips,
        out,
        ReadabilityConfig(parts=config.parts, clips=config.clips, seed=config.seed),
        face_models=config.face_models,
        device=config.device,
        force=True,
        progress=progress,
    )
    accuracies: dict[str, dict[str, Estimate]] = {}
    for score in reading.compute_scores():
        if score.slot == ALL_WORDS and score.method in (REAL, *models):
            accuracies.setdefault(score.part, {})[score.method] = score.accuracy
    return accuracies


def _format_cell(values: Mapping[str, float], digits: int) -> str:
    return _format_estimate(estimate_mean(np.array(list(values.values()))), digits) if values else ""


def _format_estimate(estimate: Estimate, digits: int) -> str:
    value, low, high = estimate
    if low is None or high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
