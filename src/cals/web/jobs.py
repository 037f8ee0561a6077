"""A job in a thread of its own, whose progress can be read and which can be cancelled."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from cals.types import ProgressCallback

T = TypeVar("T")
_STEP_S = 0.4
"""Time between two reports of progress."""


class JobCancelledError(Exception):
    """Raised inside the work of a job that was cancelled."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is."""

    done: int
    total: int | None
    """None where it is not known, and before the first item."""
    elapsed_s: float
    """Since the first item."""

    @property
    def share(self) -> float | None:
        """Return 0 to 1, None where it is not known."""
        return min(self.done / self.total, 1.0) if self.total and self.done else None

    @property
    def left_s(self) -> float | None:
        """Return the estimated time left, None where there is nothing to estimate it from."""
        return self.elapsed_s * (1 / self.share - 1) if self.share and self.elapsed_s > 1 else None


class Job(Generic[T]):
    """Work that starts at once in a thread; `work` gets a progress callback, in which cancelling raises."""

    def __init__(self, work: Callable[[ProgressCallback], T]) -> None:
        self._work = work
        self._is_cancelled, self._is_done = threading.Event(), threading.Event()
        self._done, self._first_s = 0, 0.0
        self._total: int | None = None
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask the work to end at its next item; harmless after its end."""
        self._is_cancelled.set()

    def join(self) -> None:
        """Wait until the work has ended."""
        self._thread.join()

    def iterate_progress(self) -> Iterator[Progress]:
        """Yield how far it is until it ends; closing the iterator cancels it."""
        try:
            while not self._is_done.wait(_STEP_S):
                elapsed_s = time.monotonic() - self._first_s if self._done else 0.0
                yield Progress(done=self._done, total=self._total, elapsed_s=elapsed_s)
        finally:
            if not self._is_done.is_set():
                self.cancel()

    def get_result(self) -> T:
        """Wait for the end and return what the work returned, or raise what it raised."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._work(self._update))
        except BaseException as error:  # told by whoever asks for the result
            self._error = error
        finally:
            self._is_done.set()

    def _update(self, done: int, total: int | None) -> None:
        if self._is_cancelled.is_set():
            raise JobCancelledError
        if not self._done:
            self._first_s = time.monotonic()
        self._done, self._total = done, total
