"""Workers of the server: each takes the job that waits longest, with the code that runs batches."""

import logging
import multiprocessing
import threading
import time
from concurrent.futures import Future, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from cals.errors import CalsError
from cals.inference.batch import (
    FAILED,
    SKIPPED,
    Outcome,
    count_threads,
    describe_settings,
    give_up,
    run_job,
    start_worker,
)
from cals.inference.batch_jobs import BatchJob
from cals.inference.batch_state import JobState
from cals.serve.config import ServeConfig
from cals.serve.folders import JobFolders, ProgressFile
from cals.serve.requests import read_row
from cals.serve.store import Job, JobStore
from cals.workers import PASSING_ERRORS, Slot, Work, open_slots

_log = logging.getLogger(__name__)

_POLL_S = 0.2
_IDLE_S = 1.0
_OBEY_S = 10
"""Time that a worker has to end a job before it is killed."""


class RunnerMetrics(Protocol):
    """What the runner counts."""

    def count_end(self, job: Job) -> None: ...

    def count_death(self) -> None: ...


class Runner:
    """Threads that each feed one worker; `start` raises CheckpointError or ConfigError where none can work."""

    def __init__(self, store: JobStore, folders: JobFolders, config: ServeConfig, metrics: RunnerMetrics) -> None:
        self._store, self._folders, self._config, self._metrics = store, folders, config, metrics
        self._closing, self._arrived = threading.Event(), threading.Condition()
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()
        self._settings: dict[str, Any] = {}

    def start(self) -> None:
        """Start the workers; each loads its model with its first job."""
        config = self._config
        self._settings = describe_settings(config.batch)
        threads = count_threads(config.workers, config.ray)
        work = Work(
            start=start_worker, arguments=(config.batch, self._settings, threads), run=run_with_progress, items="jobs"
        )
        spawn = multiprocessing.get_context("spawn")
        slots = self._stack.enter_context(open_slots(work, workers=config.workers, ray=config.ray, context=spawn))
        self._threads = [threading.Thread(target=self._feed, args=(slot,), daemon=True) for slot in slots]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Tell the workers that a job has arrived."""
        with self._arrived:
            self._arrived.notify()

    def close(self) -> None:
        """End the workers; the jobs that run go back into the queue."""
        self._closing.set()
        with self._arrived:
            self._arrived.notify_all()
        for thread in self._threads:
            thread.join()
        self._stack.close()

    def _feed(self, slot: Slot) -> None:
        while not self._closing.is_set():
            try:
                # a job is claimed only for a worker that can begin it, so that the wait for a place costs it no time
                job = self._store.claim() if self._store.list_jobs("queued", 1) and slot.is_ready() else None
                if job is not None:
                    self._run(slot, job)
                    continue
            except Exception:  # of the database or the system, such as a full disk: a worker less would never be seen
                _log.exception("an error that cals should have foreseen")
            with self._arrived:
                self._arrived.wait(_IDLE_S)
        slot.stop(is_running=False)

    def _run(self, slot: Slot, job: Job) -> None:
        """Run a job and note what became of it."""
        try:
            batch_job = read_row(job.row, self._folders.locate(job.id), job.number)
            has_run = job.starts > 1 or job.deaths
            if has_run and JobState(batch_job, self._settings, self._config.batch.state).is_done():
                whole = "whole when its worker or the server was killed"
                self._finish(job, Outcome(line=job.number, out=batch_job.out, status=SKIPPED, summary=whole))
                return
            future = slot.submit(batch_job)
        except CalsError as error:
            self._finish(job, _build_failure(job, str(error)))
            return
        was_interrupted = self._wait(slot, job, future)
        cause = future.exception()
        if was_interrupted or isinstance(cause, slot.deaths):
            slot.restart()
        if cause is None:
            self._finish(job, future.result())
        elif was_interrupted and self._closing.is_set():
            self._store.put_back(job.id, has_died=False)
        elif was_interrupted:
            limit = (
                f"job: expected at most {self._config.limits.max_job_s:g} s of work, found more; send something shorter"
            )
            self._finish(job, _build_failure(job, limit))  # or cancelled, which the store knows
        else:
            self._handle_error(slot, job, batch_job, cause)

    def _handle_error(self, slot: Slot, job: Job, batch_job: BatchJob, error: BaseException) -> None:
        """Put a job back whose worker died for the first time, or that met an error that may pass; else it failed."""
        if not isinstance(error, (*slot.deaths, *PASSING_ERRORS)):
            self._finish(job, _build_failure(job, f"{type(error).__name__}: {error}"))
            return
        self._metrics.count_death()
        text = " ".join(f"{type(error).__name__}: {error}".split())
        _log.warning("job %s: try %d ended with %.200s", job.id, job.deaths + 1, text)
        if job.deaths < self._config.batch.retries:
            self._store.put_back(job.id, has_died=True)
        else:
            self._finish(job, give_up(batch_job, error))

    def _wait(self, slot: Slot, job: Job, future: "Future[Outcome]") -> bool:
        """Wait for the end of a job; returns whether it was told to end, because it is cancelled or takes too long."""
        start_s, told_s, was_killed = time.monotonic(), 0.0, False
        while not wait([future], timeout=_POLL_S).done:
            now_s = time.monotonic()
            if told_s:
                if now_s - told_s > _OBEY_S and not was_killed:
                    slot.interrupt(kill=True)
                    was_killed = True
            elif self._closing.is_set() or now_s - start_s > self._config.limits.max_job_s or self._is_cancelled(job):
                slot.interrupt()
                told_s = now_s
        return told_s > 0

    def _is_cancelled(self, job: Job) -> bool:
        current = self._store.find(job.id)
        return current is None or current.cancel

    def _finish(self, job: Job, outcome: Outcome) -> None:
        ended = self._store.finish(job.id, outcome)
        if ended.state == "done":
            self._folders.remove_uploads(job.id)
        else:
            self._folders.remove(job.id)
        self._metrics.count_end(ended)


def run_with_progress(job: BatchJob) -> Outcome:
    """Run a job in a worker, with a file that tells how far it is."""
    return run_job(job, ProgressFile(job.out.parent).write)


def _build_failure(job: Job, text: str) -> Outcome:
    return Outcome(line=job.number, out=Path(job.row["out"]), status=FAILED, summary=" ".join(text.split()))
