"""Check of uploads in a process of its own, so that a file that crashes the library costs nothing else."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cals.errors import CalsError, DataError, MediaError
from cals.inference.batch_jobs import BatchJob
from cals.media.intake import IntakeLimits, check_media
from cals.workers import Slot, Work, open_slots, watch_parent

_LIMIT_S = 30


class InputChecker:
    """A process that looks at one file at a time; `close` ends it."""

    def __init__(self, limits: IntakeLimits) -> None:
        self._limits = limits
        self._lock, self._stack = threading.Lock(), ExitStack()
        work = Work(start=watch_parent, arguments=(0,), run=_call, items="files")
        slots = open_slots(work, workers=1, context=multiprocessing.get_context("spawn"))
        self._slot: Slot = self._stack.enter_context(slots)[0]

    def check(self, job: BatchJob) -> None:
        """Raise CalsError unless the files of a job are of known kinds and within the limits, and fit one another."""
        segments = None if job.dub is None else job.dub.segments
        seconds = {path: self._check_media(path) for path in dict.fromkeys(job.inputs) if path != segments}
        if job.dub is None:
            return
        total_s = sum(seconds[path] for path in set(job.dub.inputs) & seconds.keys())
        if total_s > self._limits.seconds:
            raise MediaError(
                f"voices: expected at most {self._limits.seconds:g} s together, found {total_s:.0f}; make several jobs "
                "of it"
            )
        late = DataError("segments: expected some that can be read, found one that cannot; correct the file")
        self._run(late, _check_dub, job, self._limits.seconds)

    def _check_media(self, path: Path) -> float:
        late = MediaError(
            f"{path}: expected a video, image or audio file, found one that cannot be looked at; convert it to mp4, "
            "jpg or wav"
        )
        seconds: float = self._run(late, check_media, path, self._limits)
        return seconds

    def _run(self, late: CalsError, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the process; raises `late` where it crashes or does not come back."""
        with self._lock:
            future = self._slot.submit((function, arguments))
            try:
                error = future.exception(timeout=_LIMIT_S)
            except FutureTimeout as timeout:
                error = timeout
            if isinstance(error, (FutureTimeout, *self._slot.deaths)):
                self._slot.interrupt(kill=True)
                self._slot.restart()
                raise late from error
            if error is not None:
                raise error
            return future.result()

    def close(self) -> None:
        with self._lock:
            self._slot.stop(is_running=True)
            self._stack.close()


def _call(work: tuple[Callable[..., Any], tuple[Any, ...]]) -> Any:
    function, arguments = work
    return function(*arguments)


def _check_dub(job: BatchJob, limit_s: float) -> None:
    assert job.dub is not None
    job.dub.check(job.face, job.audio, job.options, limit_s)
