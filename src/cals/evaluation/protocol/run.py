"""`cals evaluate`: models and other systems' videos on the same pairs and frames, in one table."""

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

import cals
from cals.errors import DataError
from cals.evaluation.clips import sample_evenly
from cals.evaluation.outputs import COPY, REAL, find_output
from cals.evaluation.protocol.comparison import Features, PairResult, build_tables, score_pair
from cals.evaluation.protocol.page import render_page
from cals.evaluation.protocol.pair_scorer import EvaluationConfig, Outcome, PairScorer
from cals.evaluation.protocol.pairs import PAIRS, Pair, PairList, write_pairs
from cals.evaluation.protocol.report import ROLLED_NOTES, EvaluationReport
from cals.evaluation.protocol.roll import read_pair_offsets, read_roll_record, write_roll_pairs
from cals.evaluation.protocol.side_by_side import join_views
from cals.evaluation.protocol.strips import join_strips
from cals.evaluation.results import open_results, write_json
from cals.face.draw import encode_png
from cals.types import U8, ProgressCallback
from cals.workers import Work, run_jobs

logger = logging.getLogger(__name__)

FILES = ("report.json", "report.md", "index.html")
SHEET = "sheet.png"
"""Further file where sounds are rolled."""
CLIPS = "clips"
_MAX_SHEET_PAIRS = 8
"""Most pairs on the sheet: one of 65 was 33 000 px high."""


def evaluate(
    corpus: Path,
    pairs: PairList,
    out: Path,
    config: EvaluationConfig,
    *,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> EvaluationReport:
    """Score every method on every pair; writes the pairs, their sounds, records, and the `FILES` to `out`.

    After an interruption, or with further methods, only what has no record of the same files and models is measured.
    Raises DataError when a folder of videos has none of the pairs, or nothing can be scored.
    """
    check_folders(config, pairs)
    judge = PairScorer(config, corpus, out, pairs)  # fails before any work if a model is wrong
    names = (*FILES, SHEET) if pairs.has_rolled_sounds else FILES
    with open_results(out, names, force=force) as (document, text, page, *sheet):
        unreadable = _write_sounds(judge, config, corpus, out, pairs, force, progress)
        outcomes = _score_pairs(judge, config, corpus, out, pairs, progress)
        report = _gather(judge, config, corpus, pairs, outcomes, unreadable)
        report.clips = _write_clips(judge, config, out, pairs, report)
        if pairs.has_rolled_sounds:
            _add_offsets(report, config, out)
            sheet[0].write_bytes(encode_png(_build_sheet(judge, report)))
        write_json(document, report.document())
        text.write_text(report.format_markdown() + "\n", encoding="utf-8")
        page.write_text(render_page(report) + "\n", encoding="utf-8")
    return report


def _write_sounds(
    judge: PairScorer,
    config: EvaluationConfig,
    corpus: Path,
    out: Path,
    pairs: PairList,
    force: bool,
    progress: ProgressCallback | None,
) -> dict[str, str]:
    if not pairs.has_rolled_sounds:
        return write_pairs(pairs, corpus, out, force=force)
    tools, told = (judge.metric_models.encoders, judge.detector), read_pair_offsets(config.offsets, pairs)
    return write_roll_pairs(pairs, corpus, out, *tools, told, force=force, progress=progress)


def _add_offsets(report: EvaluationReport, config: EvaluationConfig, out: Path) -> None:
    """Add the offsets and notes that a report has for rolled sounds only."""
    sounds = {result.pair.id: read_roll_record(out, result.pair) for result in report.results if not result.left_out}
    facts_by_pair = {name: facts for name, facts in sounds.items() if facts is not None}
    recogniser = next((facts.key["recogniser"] for facts in facts_by_pair.values()), None)
    closures = (
        "Closures were not measured: pocketsphinx, which finds the phones, is not there; pip install 'cals[phones]'."
        if recogniser is None
        else f"Closures: the phones are those that {recogniser} finds, which knows English only."
    )
    report.settings |= {"drive": "rolled", "told offsets": None if config.offsets is None else str(config.offsets)}
    report.offsets = {name: facts.offset for name, facts in facts_by_pair.items()}
    report.notes, report.sheet = (*ROLLED_NOTES, closures), SHEET


def _build_sheet(judge: PairScorer, report: EvaluationReport) -> U8:
    strips: list[tuple[tuple[str, ...], Path]] = []
    for result in sample_evenly([result for result in report.results if result.scores], _MAX_SHEET_PAIRS):
        strips.append(((f"{result.pair.face} real", "meant"), judge.locate_strip(result.pair, REAL)))
        generated = (name for name in result.scores if name not in (REAL, COPY))
        strips += [((name,), judge.locate_strip(result.pair, name)) for name in generated]
    return join_strips(strips)


def parse_models(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Parse NAME=FOLDER, a registered name, or a folder, which keeps its own name."""
    return tuple((name or Path(folder).resolve().name, folder) for name, folder in map(_parse_name, texts))


def parse_folders(texts: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """Parse NAME=FOLDER, or a folder, which keeps its own name."""
    return tuple((name or Path(folder).resolve().name, Path(folder)) for name, folder in map(_parse_name, texts))


def _parse_name(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    return (name, folder) if equals else ("", text)


def check_folders(config: EvaluationConfig, pairs: PairList) -> None:
    """Raise DataError where a folder of generated videos has none of the pairs."""
    for name, folder in config.generated:
        if not folder.is_dir():
            raise DataError(f"{folder}: expected a folder with the videos of {name}, found none; name another")
        if not any(find_output(folder, *pair.names) for pair in pairs.pairs):
            raise DataError(
                f"{folder}: expected videos of {name} called by the ids of {PAIRS}, such as {pairs.pairs[0].id}.mp4, "
                "found none of them; rename them, or write the list with --list-only"
            )


def _score_pairs(
    judge: PairScorer,
    config: EvaluationConfig,
    corpus: Path,
    out: Path,
    pairs: PairList,
    progress: ProgressCallback | None,
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    if progress is not None:
        progress(0, len(pairs.pairs))
    is_serial = config.processes == 1 and config.ray is None
    for outcome in map(judge.score, pairs.pairs) if is_serial else _score_by_workers(config, corpus, out, pairs):
        outcomes[outcome.pair] = outcome
        if progress is not None:
            progress(len(outcomes), len(pairs.pairs))
    return outcomes


_judge: PairScorer | None = None


def _start_worker(config: EvaluationConfig, corpus: Path, out: Path, pairs: PairList) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    torch.set_num_threads(1 if config.ray else max((os.cpu_count() or 1) // config.processes, 1))
    global _judge  # one per process: loading is slower than a short clip
    _judge = PairScorer(config, corpus, out, pairs)


def _judge_one(pair: Pair) -> Outcome:
    assert _judge is not None
    return _judge.score(pair)


def _score_by_workers(config: EvaluationConfig, corpus: Path, out: Path, pairs: PairList) -> Iterator[Outcome]:
    work = Work(start=_start_worker, arguments=(config, corpus, out, pairs), run=_judge_one, items="pairs")
    # spawn, since torch's threads do not survive a fork
    spawn = multiprocessing.get_context("spawn")
    return run_jobs(work, pairs.pairs, workers=config.processes, ray=config.ray, context=spawn)


def _gather(
    judge: PairScorer,
    config: EvaluationConfig,
    corpus: Path,
    pairs: PairList,
    outcomes: dict[str, Outcome],
    unreadable: dict[str, str],
) -> EvaluationReport:
    results: list[PairResult] = []
    features: dict[str, Features] = {}
    for pair in pairs.pairs:
        outcome = outcomes[pair.id]
        left_out = unreadable.get(pair.id, outcome.left_out)
        records = {} if left_out else judge.read_records(pair)
        sound = read_roll_record(judge.out, pair) if pair.kind == "rolled" else None
        bilabials = None if sound is None else sound.bilabials
        result, features[pair.id] = score_pair(pair, records, outcome.failed, left_out, bilabials)
        if not config.truth:
            result.scores.pop(REAL, None)
        results.append(result)
    if not any(result.scores for result in results):
        reasons = {result.left_out or next(iter(result.failed.values()), "") for result in results}
        raise DataError(
            f"{corpus}: expected pairs that can be judged, found none of {len(results)} "
            f"({'; '.join(sorted(reasons)[:3])}); name another corpus or other methods"
        )
    methods = tuple(name for name in config.methods if name != REAL or config.truth)
    settings = {
        "methods": {name: f"{lips.model.name} ({lips.model.fingerprint})" for name, lips in judge.lips.items()}
        | {name: f"videos in {folder}" for name, folder in config.generated},
        "corpus": str(corpus),
        "seconds": pairs.seconds,
        "seed": pairs.seed,
        "encoders": judge.metric_models.encoders.name,
        "dlib": None if config.dlib is None else str(config.dlib),
        "device": config.device,
        "batch": config.batch,
        "cals": cals.__version__,
    }
    return EvaluationReport(settings, methods, results, build_tables(results, features, methods, pairs.seed))


def _write_clips(
    judge: PairScorer, config: EvaluationConfig, out: Path, pairs: PairList, report: EvaluationReport
) -> dict[str, tuple[str, ...]]:
    """Write the side-by-side clips to `CLIPS`; returns pair -> its methods from left to right."""
    failed = {result.pair.id: result.failed for result in report.results}
    clips: dict[str, tuple[str, ...]] = {}
    for pair in pairs.select_first(config.shown):
        views = {
            name: view
            for name in config.methods
            if name not in failed[pair.id] and (view := judge.locate_view(pair, name)).is_file()
        }
        if len(views) > 1:
            join_views(out / CLIPS / f"{pair.id}.mp4", views, out / pair.sound)
            clips[pair.id] = tuple(views)
    return clips
