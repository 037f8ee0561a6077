"""Many videos in one run: worker processes that load the model once, and jobs that go on where they stopped."""

import errno
import json
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Final, Literal

import torch

from cals import hub
from cals.errors import CalsError, ConfigError, MediaError
from cals.files import describe_os_error
from cals.inference.batch_jobs import BatchJob, check_conflicts
from cals.inference.batch_state import JobState, locate_state
from cals.inference.dub_request import write_dub
from cals.inference.lipsync import LipSync
from cals.inference.report import GenerateReport
from cals.media import audio as sound
from cals.options import Precision, ProvenanceOptions, resolve_provenance
from cals.types import ProgressCallback
from cals.workers import Retries, Work, check_workers, run_jobs, watch_parent

_log = logging.getLogger(__name__)

DONE: Final = "done"
SKIPPED: Final = "skipped"
FAILED: Final = "failed"
_LASTING = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""System errors that trying again does not cure."""


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """Options of all jobs of a batch; those of `LipSync` are its own."""

    model: str | Path = hub.DEFAULT_MODEL
    face_models: Path | None = None
    device: str = "cpu"
    batch: int = 8
    precision: Precision = "auto"
    provenance: bool | ProvenanceOptions = True
    state: Path | None = None
    """Folder for the state of the jobs; beside each output by default."""
    cache: Path | None = None
    """Folder that keeps the faces of videos, so that several speeches of one video track it once."""
    retries: int = 1
    """How often a job is tried again after its worker died, or a system error that may pass."""
    force: bool = False
    """Overwrite existing outputs that no run of the same job wrote."""

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ConfigError(f"retries: expected 0 or more, found {self.retries}; 1 is the default")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job."""

    line: int
    out: Path
    status: Literal["done", "skipped", "failed"]
    frames: int = 0
    seconds: float = 0.0
    """Length of the output."""
    wall_s: float = 0.0
    """Duration of the job."""
    summary: str = ""
    """What a line on the terminal says: the report in one line, or the error."""

    def to_json(self) -> dict[str, Any]:
        """Return the record of the results file."""
        error = self.summary if self.status == FAILED else None
        times = {"seconds": round(self.seconds, 6), "wall_s": round(self.wall_s, 3)}
        return {
            "line": self.line,
            "out": str(self.out),
            "status": self.status,
            "frames": self.frames,
            **times,
            "error": error,
        }


def run_batch(
    jobs: Sequence[BatchJob],
    config: BatchConfig | None = None,
    *,
    workers: int = 1,
    ray: str | None = None,
    results: Path | None = None,
    report: Callable[[Outcome], None] | None = None,
    progress: ProgressCallback | None = None,
) -> list[Outcome]:
    """Generate all videos and return what became of each, in the order of completion.

    Jobs whose outputs are whole and whose inputs, options and model are unchanged are skipped. A job that fails fails
    alone. `workers` and `ray` are those of `run_jobs`, each worker with a share of the processors. `results` is a file
    to which a JSON line a job is appended; `report` is called with each outcome. Raises ConfigError before any job
    starts where jobs conflict, and CheckpointError where a model is missing. A script that calls it needs the usual
    `if __name__ == "__main__":`, since workers import it.
    """
    config = config or BatchConfig()
    check_workers(workers, ray)
    states = [locate_state(job, config.state) for job in jobs]
    check_conflicts(jobs, reserved=[*states, *([] if results is None else [results])])
    settings = describe_settings(config)
    if config.state is not None:
        _create_folder(config.state)
    outcomes: list[Outcome] = []
    with _open_results(results) as write, closing(_iterate_outcomes(jobs, config, settings, workers, ray)) as stream:
        if progress is not None:
            progress(0, len(jobs))
        for outcome in stream:
            write(outcome)
            outcomes.append(outcome)
            if report is not None:
                report(outcome)
            if progress is not None:
                progress(len(outcomes), len(jobs))
    return outcomes


def _iterate_outcomes(
    jobs: Sequence[BatchJob], config: BatchConfig, settings: dict[str, Any], workers: int, ray: str | None
) -> Generator[Outcome, None, None]:
    pending = []
    for job in jobs:
        if JobState(job, settings, config.state).is_done():
            yield Outcome(line=job.line, out=job.out, status=SKIPPED, summary="whole and unchanged, skipped")
        else:
            pending.append(job)
    if not pending:
        return
    if config.cache is not None:
        pending = _group_by_face(pending)
    folders = {name: value.absolute() for name in ("state", "cache") if (value := getattr(config, name)) is not None}
    config = replace(config, **folders)  # workers of a cluster run in folders of their own
    work = Work(
        start=start_worker, arguments=(config, settings, count_threads(workers, ray)), run=run_job, items="jobs"
    )
    retries = Retries(count=config.retries, give_up=give_up)
    # spawn, since torch's threads do not survive a fork
    spawn = multiprocessing.get_context("spawn")
    yield from run_jobs(work, pending, workers=workers, ray=ray, context=spawn, retries=retries)


def count_threads(workers: int, ray: str | None) -> int:
    """Return the share of the processors of a worker."""
    return 1 if ray else max((os.cpu_count() or 1) // workers, 1)


def _group_by_face(jobs: Sequence[BatchJob]) -> list[BatchJob]:
    """Sort jobs so that those of a face follow one another, the longest speech first: its faces serve the others."""
    groups: dict[Path, list[BatchJob]] = {}
    for job in jobs:
        groups.setdefault(job.face, []).append(job)
    ordered: list[BatchJob] = []
    for group in groups.values():
        ordered += sorted(group, key=_measure_speech, reverse=True) if len(group) > 1 else group
    return ordered


def _measure_speech(job: BatchJob) -> float:
    if job.audio is None:
        return 0.0
    try:
        info = sound.probe(job.audio, track=job.options.audio_track, keep_going=job.options.keep_going, quiet=True)
    except CalsError:
        return 0.0  # told when the job runs
    return float(info.duration_s)


def describe_settings(config: BatchConfig) -> dict[str, Any]:
    """Describe what all outputs depend on; the model is loaded for that, so that its errors come before any job."""
    lips = _build_lips(config)
    model = f"{lips.model.name} ({lips.model.fingerprint})"
    signing = resolve_provenance(config.provenance)
    certificate = signing.sign_cert and os.path.realpath(signing.sign_cert)
    return {"model": model, "precision": config.precision, "provenance": certificate or signing.provenance}


def _build_lips(config: BatchConfig) -> LipSync:
    return LipSync(
        config.model,
        face_models=config.face_models,
        device=config.device,
        batch=config.batch,
        precision=config.precision,
        cache=config.cache,
    )


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: expected a folder for the state of jobs, found {describe_os_error(error)}; name another"
        ) from error


def _check_results(file: BinaryIO, path: Path) -> None:
    """Raise ConfigError unless the file, at whose end something will be added, begins as results do."""
    file.seek(0)
    if file.read(1) != b"{":
        raise ConfigError(f"{path}: expected a file of results, or none, found another file; name another")


@contextmanager
def _open_results(path: Path | None) -> Iterator[Callable[[Outcome], None]]:
    """Open the results file and yield a function that appends an outcome."""
    if path is None:
        yield lambda outcome: None
        return
    try:
        with path.open("a+b") as file:
            if file.tell():
                _check_results(file, path)
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a line that a crash cut short
                    file.write(b"\n")

            def write(outcome: Outcome) -> None:
                file.write(json.dumps(outcome.to_json()).encode() + b"\n")
                file.flush()

            yield write
    except OSError as error:
        raise MediaError(
            f"{path}: expected to write results, found {describe_os_error(error)}; free some space or name another file"
        ) from error


@dataclass(frozen=True)
class _Worker:
    lips: LipSync
    config: BatchConfig
    settings: dict[str, Any]


_worker: _Worker | None = None
_is_running, _stop_requested = False, False


def start_worker(config: BatchConfig, settings: dict[str, Any], threads: int) -> None:
    """Load the model of a worker, which ends with its parent."""
    if multiprocessing.parent_process() is not None:  # Ray's workers have signals of their own
        signal.signal(signal.SIGTERM, _stop)
        watch_parent()
    torch.set_num_threads(threads)
    global _worker  # one per process: loading is slower than a short job
    _worker = _Worker(_build_lips(config), config, settings)


def _stop(number: int, frame: FrameType | None) -> None:
    global _stop_requested
    was_requested, _stop_requested = _stop_requested, True
    if _is_running and not was_requested:
        raise KeyboardInterrupt


def _check_stop(done: int, total: int | None) -> None:
    """Raise KeyboardInterrupt again where a library suppressed it."""
    if _stop_requested:
        raise KeyboardInterrupt


def run_job(job: BatchJob, progress: ProgressCallback | None = None) -> Outcome:
    """Run one job in a worker; errors that may pass are raised, others are its outcome."""
    global _is_running
    assert _worker is not None
    _is_running = True
    start_s = time.monotonic()
    try:
        _check_stop(0, None)
        return _generate(_worker, job, progress)
    except Exception as error:
        text = " ".join((str(error) if isinstance(error, CalsError) else f"{type(error).__name__}: {error}").split())
        cause = _find_passing_error(error)
        if isinstance(cause, MemoryError):
            raise MemoryError(text) from error
        if cause is not None:
            raise OSError(cause.errno or errno.EIO, text) from error
        if not isinstance(error, CalsError):
            _log.warning("%s: an error that cals should have foreseen", job.out, exc_info=error)
        return Outcome(line=job.line, out=job.out, status=FAILED, wall_s=time.monotonic() - start_s, summary=text)
    finally:
        _is_running = False


def _generate(worker: _Worker, job: BatchJob, progress: ProgressCallback | None) -> Outcome:
    def report_progress(done: int, total: int | None) -> None:
        _check_stop(done, total)
        if progress is not None:
            progress(done, total)

    state = JobState(job, worker.settings, worker.config.state)
    force = worker.config.force or state.may_overwrite()
    state.begin()
    try:
        result = _write_video(
            worker.lips,
            job,
            encode=job.encode,
            force=force,
            provenance=worker.config.provenance,
            report=job.report,
            progress=report_progress,
        )
        state.complete()
    except BaseException:
        with suppress(OSError):
            state.abandon()
        raise
    return Outcome(
        line=job.line,
        out=job.out,
        status=DONE,
        frames=result.frames,
        seconds=result.seconds,
        wall_s=result.wall_s,
        summary=result.line(),
    )


def _write_video(lips: LipSync, job: BatchJob, **output: Any) -> GenerateReport:
    if not job.is_dub:
        assert job.audio is not None
        return lips.generate(job.face, job.audio, job.out, job.options, voice=job.voice, **output)
    return write_dub(lips, job.dub, job.face, job.audio, job.out, job.options, **output)


def _find_passing_error(error: BaseException) -> OSError | MemoryError | None:
    """Find a system error that may pass in an error or its causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | MemoryError) and not isinstance(cause, _LASTING):
            return cause
        cause = cause.__cause__
    return None


def give_up(job: BatchJob, error: BaseException) -> Outcome:
    """Return the outcome of a job whose last try ended with `error`."""
    error = getattr(error, "cause", None) or error  # Ray wraps errors
    if isinstance(error, OSError):
        text = describe_os_error(error)
    elif isinstance(error, MemoryError):
        text = "expected enough memory, found none left; give fewer workers"
    else:
        text = "expected a worker to end the job, found it killed, most often for want of memory; give fewer workers"
    return Outcome(line=job.line, out=job.out, status=FAILED, summary=text)
