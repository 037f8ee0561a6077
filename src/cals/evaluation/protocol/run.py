"""`cals evaluate`: models and other systems' videos on the same pairs, the same frames, in the same table."""

import json
import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

import cals
from cals.data.shards import writing
from cals.errors import DataError
from cals.evaluation.entrants import COPY, REAL, output_of
from cals.evaluation.protocol.comparison import Features, PairResult, judged, tables
from cals.evaluation.protocol.judge import EvaluationConfig, Judge, Outcome
from cals.evaluation.protocol.page import page
from cals.evaluation.protocol.pairs import PAIRS, Pair, PairList, write_pairs
from cals.evaluation.protocol.report import ROLLED_NOTES, EvaluationReport
from cals.evaluation.protocol.rolled import facts_of, read_told, write_rolled_pairs
from cals.evaluation.protocol.side_by_side import joined
from cals.evaluation.protocol.strips import encode_png, join_strips
from cals.inference.report import new_file
from cals.types import U8, ProgressCallback
from cals.workers import Work, run_jobs

logger = logging.getLogger(__name__)

FILES = ("report.json", "report.md", "index.html")
SHEET = "sheet.png"
"""What there is too where sounds are rolled."""
CLIPS = "clips"


def evaluate(
    corpus: Path,
    pairs: PairList,
    out: Path,
    config: EvaluationConfig,
    *,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> EvaluationReport:
    """Judge every method on every pair; writes the pairs, their sounds, records, and the `FILES` to `out`.

    Interrupted, or with further methods, it goes on with what has no record yet, or one of another file or model.
    Raises DataError when a folder of videos has none of the pairs, or nothing can be judged.
    """
    _check_folders(config, pairs)
    judge = Judge(config, corpus, out, pairs)  # says what is wrong with a model before any work
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        names = (*FILES, SHEET) if pairs.rolled else FILES
        places = [files.enter_context(new_file(out / name, force=force, apart_from=())) for name in names]
        unheard = _write_sounds(judge, config, corpus, out, pairs, force, progress)
        outcomes = _work(judge, config, corpus, out, pairs, progress)
        report = _gathered(judge, config, corpus, pairs, outcomes, unheard)
        report.clips = _clips(judge, config, out, pairs, report)
        if pairs.rolled:
            _add_rolled(report, config, out)
            places[-1].write_bytes(encode_png(_sheet(judge, report)))
        texts = (json.dumps(report.document(), indent=1, allow_nan=False), report.markdown(), page(report))
        for place, text in zip(places, texts, strict=False):
            place.write_text(text + "\n", encoding="utf-8")
    return report


def _write_sounds(
    judge: Judge,
    config: EvaluationConfig,
    corpus: Path,
    out: Path,
    pairs: PairList,
    force: bool,
    progress: ProgressCallback | None,
) -> dict[str, str]:
    if not pairs.rolled:
        return write_pairs(pairs, corpus, out, force=force)
    tools, told = (judge.tools.encoders, judge.detector), read_told(config.offsets, pairs)
    return write_rolled_pairs(pairs, corpus, out, *tools, told, force=force, progress=progress)


def _add_rolled(report: EvaluationReport, config: EvaluationConfig, out: Path) -> None:
    """What a report says of rolled sounds only."""
    found = {result.pair.id: facts_of(out, result.pair) for result in report.results if not result.left_out}
    known = {name: facts for name, facts in found.items() if facts is not None}
    recogniser = next((facts.key["recogniser"] for facts in known.values()), None)
    closures = (
        "Closures were not measured: pocketsphinx, which finds the phones, is not there; pip install 'cals[phones]'."
        if recogniser is None
        else f"Closures: the phones are those that {recogniser} finds, which knows English only."
    )
    report.settings |= {"drive": "rolled", "told offsets": None if config.offsets is None else str(config.offsets)}
    report.offsets = {name: facts.offset for name, facts in known.items()}
    report.notes, report.sheet = (*ROLLED_NOTES, closures), SHEET


def _sheet(judge: Judge, report: EvaluationReport) -> U8:
    strips: list[tuple[tuple[str, ...], Path]] = []
    for result in report.results:
        if result.scores:
            strips.append(((f"{result.pair.face} real", "meant"), judge.strip(result.pair, REAL)))
            made = (name for name in result.scores if name not in (REAL, COPY))
            strips += [((name,), judge.strip(result.pair, name)) for name in made]
    return join_strips(strips)


def named_models(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """NAME=FOLDER, a registered name, or a folder, which is called by its own name."""
    return tuple((name or Path(place).resolve().name, place) for name, place in map(_named, texts))


def named_folders(texts: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """NAME=FOLDER, or a folder."""
    return tuple((name or Path(place).resolve().name, Path(place)) for name, place in map(_named, texts))


def _named(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    return (name, place) if equals else ("", text)


def _check_folders(config: EvaluationConfig, pairs: PairList) -> None:
    for name, folder in config.generated:
        if not folder.is_dir():
            raise DataError(f"{folder}: expected a folder with the videos of {name}, found none; name another")
        if not any(output_of(folder, *pair.names) for pair in pairs.pairs):
            raise DataError(
                f"{folder}: expected videos of {name} called by the ids of {PAIRS}, such as {pairs.pairs[0].id}.mp4, "
                "found none of them; rename them, or write the list with --list-only"
            )


def _work(
    judge: Judge,
    config: EvaluationConfig,
    corpus: Path,
    out: Path,
    pairs: PairList,
    progress: ProgressCallback | None,
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    if progress is not None:
        progress(0, len(pairs.pairs))
    alone = config.workers == 1 and config.ray is None
    for outcome in map(judge.judge, pairs.pairs) if alone else _by_workers(config, corpus, out, pairs):
        outcomes[outcome.pair] = outcome
        if progress is not None:
            progress(len(outcomes), len(pairs.pairs))
    return outcomes


_judge: Judge | None = None


def _start_worker(config: EvaluationConfig, corpus: Path, out: Path, pairs: PairList) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    torch.set_num_threads(1 if config.ray else max((os.cpu_count() or 1) // config.workers, 1))
    global _judge  # one per process: loading is slower than a short clip
    _judge = Judge(config, corpus, out, pairs)


def _judge_one(pair: Pair) -> Outcome:
    assert _judge is not None
    return _judge.judge(pair)


def _by_workers(config: EvaluationConfig, corpus: Path, out: Path, pairs: PairList) -> Iterator[Outcome]:
    work = Work(start=_start_worker, arguments=(config, corpus, out, pairs), run=_judge_one, items="pairs")
    # spawned, since torch's threads do not outlive a fork
    spawn = multiprocessing.get_context("spawn")
    return run_jobs(work, pairs.pairs, workers=config.workers, ray=config.ray, context=spawn)


def _gathered(
    judge: Judge,
    config: EvaluationConfig,
    corpus: Path,
    pairs: PairList,
    outcomes: dict[str, Outcome],
    unheard: dict[str, str],
) -> EvaluationReport:
    results: list[PairResult] = []
    features: dict[str, Features] = {}
    for pair in pairs.pairs:
        outcome = outcomes[pair.id]
        out_for = unheard.get(pair.id, outcome.left_out)
        records = {} if out_for else judge.records(pair)
        facts = facts_of(judge.out, pair) if pair.kind == "rolled" else None
        bilabials = None if facts is None else facts.bilabials
        result, features[pair.id] = judged(pair, records, outcome.failed, out_for, bilabials)
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
        "encoders": judge.tools.encoders.name,
        "dlib": None if config.dlib is None else str(config.dlib),
        "device": config.device,
        "batch": config.batch,
        "cals": cals.__version__,
    }
    return EvaluationReport(settings, methods, results, tables(results, features, methods, pairs.seed))


def _clips(
    judge: Judge, config: EvaluationConfig, out: Path, pairs: PairList, report: EvaluationReport
) -> dict[str, tuple[str, ...]]:
    """Pair -> the methods that its clip shows from left to right; the clips lie in `CLIPS`."""
    failed = {result.pair.id: result.failed for result in report.results}
    found: dict[str, tuple[str, ...]] = {}
    for pair in pairs.shown(config.shown):
        views = {
            name: view
            for name in config.methods
            if name not in failed[pair.id] and (view := judge.view(pair, name)).is_file()
        }
        if len(views) > 1:
            joined(out / CLIPS / f"{pair.id}.mp4", views, out / pair.sound)
            found[pair.id] = tuple(views)
    return found
