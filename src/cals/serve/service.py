"""The server's work behind its HTTP routes: taking, showing, cancelling and removing jobs."""

import logging
import shutil
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from cals.errors import CalsError
from cals.serve.checker import InputChecker
from cals.serve.config import RequestError, ServeConfig, refuse
from cals.serve.folders import JobFolders
from cals.serve.metrics import Metrics
from cals.serve.multipart import Form
from cals.serve.requests import build_row, hash_request
from cals.serve.runner import Runner
from cals.serve.store import Job, JobStore

_log = logging.getLogger(__name__)

_END_S = 30
"""Time that the removal of a running job waits for its end."""
_SWEEP_S = 60


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job as clients see it."""

    id: str
    state: str
    """queued, running, done, failed or cancelled"""
    frames: int
    """Frames that are done."""
    total: int | None
    """Frames there will be; null while unknown."""
    waiting: int
    """Jobs that come before it."""
    created_at: str
    started_at: str | None
    ended_at: str | None
    summary: str | None
    """The report in one line, once done."""
    error: str | None
    """What was expected, what was found and what to do, once failed."""
    seconds: float
    """Length of the result."""
    wall_s: float
    """Duration of the work."""
    has_report: bool


class Service:
    """A server without its HTTP; a context whose end puts running jobs back into the queue."""

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        self.folders = JobFolders(config.data)
        self.store = JobStore(self.folders.database)
        self.metrics = Metrics(self.store)
        self.closing = threading.Event()
        self._checker = InputChecker(config.intake)
        self._runner = Runner(self.store, self.folders, config, self.metrics)
        self._sweeper = threading.Thread(target=self._sweep, daemon=True)

    def __enter__(self) -> Self:
        self.store.recover()
        self.folders.remove_strangers(self.store)
        self._runner.start()
        self._sweeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._runner.close()
        self._checker.close()
        self.store.close()

    def check_room(self) -> None:
        """Raise RequestError where no further job can be taken."""
        if self.store.count_states()["queued"] >= self.config.limits.max_queue:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"queue: expected fewer than {self.config.limits.max_queue} jobs that wait, found as many; try later",
            )
        if shutil.disk_usage(self.folders.data).free < 2 * self.config.limits.max_upload_bytes:
            raise RequestError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                "disk: expected room for twice the largest request, found less; try again later",
            )

    def submit(
        self,
        job_id: str,
        form: Form,
        key: str | None,
    ) -> tuple[Job, bool]:
        """Queue a job whose uploads lie in its folder; returns it, or the one with the same key, and whether it is new.

        RequestError for what cannot be run, or for a key that another request had.
        """
        digest = hash_request(form)
        if key is not None and (known := self.store.find_key(key)) is not None:
            return _check_same(known, digest), False
        row, batch_job = build_row(form, job_id, self.folders, self.config.inputs)
        try:
            self._checker.check(batch_job)
        except CalsError as error:
            raise refuse(self.clean(_name_voices(str(error), form))) from error
        job = _check_same(self.store.add(job_id, row, digest, key), digest)
        self._runner.wake()
        return job, job.id == job_id

    def find(self, job_id: str) -> Job:
        """Return a job; RequestError if there is none."""
        job = self.store.find(job_id)
        if job is None:
            raise RequestError(
                HTTPStatus.NOT_FOUND,
                f"job: expected one of this server, found {job_id[:40]!r}; it may be removed",
            )
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; one that runs is told to end, one that has ended stays as it is."""
        self.find(job_id)
        job = self.store.cancel(job_id) or self.find(job_id)
        if job.state == "cancelled":
            self.folders.remove(job_id)
        return job

    def remove(self, job_id: str) -> None:
        """Cancel a job and remove all that is known of it."""
        job, end_s = self.cancel(job_id), time.monotonic() + _END_S
        while not job.has_ended:
            if time.monotonic() > end_s:
                raise RequestError(HTTPStatus.CONFLICT, "job: expected it to end, found it running; try again later")
            time.sleep(0.05)
            job = self.find(job_id)
        self.store.remove(job_id)
        self.folders.remove(job_id)

    def locate_result(self, job_id: str, column: str = "out") -> Path:
        """Return the path of a file that a job wrote, `out` or `report`; RequestError if there is none."""
        job = self.find(job_id)
        if job.state != "done":
            raise RequestError(HTTPStatus.CONFLICT, f"job: expected one that is done, found it {job.state}")
        if column not in job.row:
            raise RequestError(HTTPStatus.NOT_FOUND, "report: expected a job with one, found none; send report=true")
        return Path(job.row[column])

    def describe(self, job: Job) -> JobView:
        """Describe a job to clients."""
        progress = self.folders.read_progress(job)
        text = self.clean(job.summary)
        return JobView(
            id=job.id,
            state=job.state,
            frames=progress["frames"],
            total=progress["total"],
            waiting=self.store.count_before(job) if job.state == "queued" else 0,
            created_at=_format_time(job.created_s) or "",
            started_at=_format_time(job.started_s),
            ended_at=_format_time(job.ended_s),
            summary=text if job.state == "done" else None,
            error=text if job.state == "failed" else None,
            seconds=job.seconds,
            wall_s=round(job.wall_s, 3),
            has_report=job.state == "done" and "report" in job.row,
        )

    def clean(self, text: str) -> str:
        """Return a message without the server's folders."""
        return self.folders.clean(text, self.config.inputs)

    def _sweep(self) -> None:
        """Remove expired jobs, again and again."""
        while not self.closing.is_set():
            try:
                self.folders.remove_expired_jobs(self.store, self.config.limits.keep_hours * 3600)
            except Exception:  # of the database or the system: tried again
                _log.exception("an error that cals should have foreseen")
            self.closing.wait(_SWEEP_S)


def _name_voices(text: str, form: Form) -> str:
    """Return a message with the client's own names of voices that were sent."""
    names = {str(path): name for name, path in form.voices.items()}
    for path in sorted(names, key=len, reverse=True):
        text = text.replace(path, names[path][:80])
    return text


def _check_same(job: Job, digest: str) -> Job:
    if job.digest != digest:
        raise refuse("Idempotency-Key: expected the request that had it before, found another one; use a new key")
    return job


def _format_time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
