"""`cals wer`: recognisers on the same clips, clean and corrupted alike, in one table of word error rates."""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import cals
from cals import hub
from cals.errors import ConfigError
from cals.evaluation.journal import Journal
from cals.evaluation.recognition.agreement import compare_readers, load_accuracies
from cals.evaluation.recognition.conditions import WerConfig
from cals.evaluation.recognition.grammar import build_grammar
from cals.evaluation.recognition.plot import draw_rates
from cals.evaluation.recognition.reading import ClipReader, Task
from cals.evaluation.recognition.records import ClipRecord
from cals.evaluation.recognition.report import PLOT, WerReport
from cals.evaluation.recognition.systems import load_systems
from cals.evaluation.recognition.videos import Videos
from cals.evaluation.results import open_results, write_json
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.report.plots import load_pyplot
from cals.types import ProgressCallback
from cals.workers import Work, check_workers, run_jobs

NamedFolders = tuple[tuple[str, Path], ...]


@dataclass(frozen=True, kw_only=True)
class WerJob:
    """Inputs of a run."""

    corpus: Path
    """Folder made by `cals prepare`."""
    models: NamedFolders
    """Recognisers by name; folders of one name are trained alike from several seeds."""
    config: WerConfig
    splits: Path | None = None
    videos: NamedFolders = ()
    """Generated videos of the corpus's clips, read in place of the corruptions."""
    face_models: Path | None = None
    device: str = "cpu"

    def build_reader(self) -> ClipReader:
        """Load everything; raise CalsError for whatever is wrong with it."""
        systems = load_systems(self.models, withhold=self.config.withhold or bool(self.videos), device=self.device)
        if not self.videos:
            return ClipReader(self.corpus, self.splits, systems, self.config)
        visual = [system for system in systems if system.streams == "video"]
        if not visual:
            raise ConfigError("videos: expected a recogniser that sees, found none; name one that has video")
        detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(self.face_models)))
        videos = Videos(self.videos, detector, visual[0].config.mel.timing)
        return ClipReader(self.corpus, self.splits, visual, self.config, videos)


def measure_word_errors(
    job: WerJob,
    out: Path,
    *,
    readability: Path | None = None,
    workers: int = 1,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> WerReport:
    """Read held-out clips with every model under every condition; write the report's `files` into `out`, all or none.

    An interrupted run resumes with the next clip when started again with the same settings. `readability` is a report
    of `cals readability` on the same videos. Raises CalsError for whatever cannot be read, before any work.
    """
    check_workers(workers, None)
    if readability is not None and not job.videos:
        raise ConfigError("readability: expected generated videos to compare it with, found none; give --videos FOLDER")
    words = None if readability is None else load_accuracies(readability)
    reader = job.build_reader()
    tasks = reader.tasks()
    settings = _describe(job, reader)
    grammars = {
        system.name: build_grammar(system.networks[0].language, system.config.tokens, job.config.seed)
        for system in reader.systems
    }
    report = WerReport(settings, reader.systems, reader.conditions, grammars, seed=job.config.seed)
    if PLOT in report.files:
        load_pyplot()  # complains where there is no matplotlib
    with open_results(out, report.files, force=force) as places:
        journal = Journal(out / ".wer.jsonl", settings, ClipRecord.document, ClipRecord.read, force=force)
        report.clips = _read_tasks(job, reader, tasks, journal, workers, progress)
        if readability is not None and words is not None:
            report.agreement = compare_readers(readability, words, _collect_rates(report))
        write_json(places[0], report.document())
        places[1].write_text(report.format_markdown(), encoding="utf-8")
        if PLOT in report.files:
            draw_rates(places[2], report)
    journal.close()
    return report


def _describe(job: WerJob, reader: ClipReader) -> dict[str, Any]:
    """Describe the settings of the run as a JSON document."""
    config = job.config
    models: dict[str, list[str]] = {}
    for system in reader.systems:
        models[system.name] = [f"{network.folder} ({network.fingerprint})" for network in system.networks]
    settings: dict[str, Any] = {
        "models": models,
        "corpus": str(job.corpus),
        "splits": None if job.splits is None else str(job.splits),
        "parts": config.parts if job.splits is not None else None,
        "clips": config.clips,
        "clips without text": reader.skipped,
        "corruption": None if job.videos else config.corruption,
        "videos": {name: str(folder) for name, folder in job.videos},
        "beam": asdict(config.beam),
        "seeds": config.seeds,
        "device": job.device,
        "cals": cals.__version__,
        "conditions": {one.name: None if one.config is None else asdict(one.config) for one in reader.conditions},
    }
    document: dict[str, Any] = json.loads(json.dumps(settings))
    return document


def _collect_rates(report: WerReport) -> dict[tuple[str, str, str], float]:
    return {
        (part.part, condition.name, system.name): part.rate(condition.name, system.name).value
        for part in report.parts
        for condition in report.conditions
        for system in report.systems
    }


def _read_tasks(
    job: WerJob,
    reader: ClipReader,
    tasks: Sequence[Task],
    journal: Journal[ClipRecord],
    workers: int,
    progress: ProgressCallback | None,
) -> list[ClipRecord]:
    """Return the record of every clip, in order; those that the journal has already are not read again."""
    keys = [_build_key(task.part, task.key) for task in tasks]
    remaining = [task for task in tasks if _build_key(task.part, task.key) not in journal.records]
    if progress is not None:
        progress(len(tasks) - len(remaining), len(tasks))
    for record in map(reader.read, remaining) if workers == 1 else _read_in_workers(job, remaining, workers):
        journal.add(_build_key(record.part, record.clip), record)
        if progress is not None:
            progress(len(journal.records), len(tasks))
    return [journal.records[key] for key in keys]


def _build_key(part: str, clip: str) -> str:
    return f"{part}-{clip}"


_reader: ClipReader | None = None


def _start_worker(job: WerJob, workers: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    torch.set_num_threads(max((os.cpu_count() or 1) // workers, 1))
    global _reader  # one per process: loading is slower than a clip
    _reader = job.build_reader()


def _read_one(task: Task) -> ClipRecord:
    assert _reader is not None
    return _reader.read(task)


def _read_in_workers(job: WerJob, tasks: Sequence[Task], workers: int) -> Iterator[ClipRecord]:
    work = Work(start=_start_worker, arguments=(job, workers), run=_read_one, items="clips")
    # spawned, since torch's threads do not outlive a fork
    return run_jobs(work, tasks, workers=workers, context=multiprocessing.get_context("spawn"))
