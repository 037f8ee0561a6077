"""Parallel work on many items: by processes on this machine, or on the nodes of a Ray cluster."""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import BaseContext
from typing import Any, Generic, Protocol, TypeVar

from cals.errors import CalsError, ConfigError, DataError

Job = TypeVar("Job")
Result = TypeVar("Result")
_CONNECT_TIMEOUT_S = 10
_ANSWER_S = 1.0
PASSING_ERRORS = (OSError, MemoryError)
"""Errors of a job after which its worker goes on."""


@dataclass(frozen=True, kw_only=True)
class Work(Generic[Job, Result]):
    """The task of a worker: `start(*arguments)` once, then `run` for every job; both are module-level functions."""

    start: Callable[..., None]
    arguments: tuple[Any, ...]
    run: Callable[[Job], Result]
    items: str
    """Name of the jobs in messages, e.g. clips."""


@dataclass(frozen=True, kw_only=True)
class Retries(Generic[Job, Result]):
    """What becomes of a job whose worker dies, or that raises OSError or MemoryError: it alone is tried again."""

    count: int
    give_up: Callable[[Job, BaseException], Result]
    """Called with the last error when all tries have failed; returns the result of the job."""


def run_jobs(
    work: Work[Job, Result],
    jobs: Sequence[Job],
    *,
    workers: int,
    ray: str | None = None,
    context: BaseContext | None = None,
    retries: Retries[Job, Result] | None = None,
) -> Iterator[Result]:
    """Run all jobs and yield their results in order of completion.

    `ray` is the address of a cluster: `auto` is the one that this machine belongs to, `local` one of this machine
    alone. At most `workers` run on its processors, 0 for all; its nodes must see the same files. A worker that dies on
    a cluster is started again, and so is its job; a dead local worker is a DataError.
    With `retries` a worker that dies is replaced, here as on a cluster, and costs its own job one try; jobs that run
    when the iterator is closed get SIGTERM.
    """
    check_workers(workers, ray)
    if ray:
        return _run_on_cluster(work, jobs, workers, ray, retries)
    if retries is not None:
        processes = [_Process(work, context) for _ in range(min(workers, len(jobs)))]
        return _run_with_retries(processes, jobs, retries)
    return _run_in_pool(work, jobs, workers, context)


def check_workers(workers: int, ray: str | None) -> None:
    """Raise ConfigError unless `workers` is in range: from 1, or from 0 on a cluster."""
    if workers < (0 if ray else 1):
        raise ConfigError(f"workers: expected at least 1, found {workers}; give --workers 1 or more")


def _run_in_pool(
    work: Work[Job, Result], jobs: Sequence[Job], workers: int, context: BaseContext | None
) -> Iterator[Result]:
    with ProcessPoolExecutor(
        max_workers=workers, mp_context=context, initializer=work.start, initargs=work.arguments
    ) as pool:
        futures = [pool.submit(work.run, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                f"workers: expected {workers} to work through the {work.items}, found one killed, most often for want "
                "of memory; run the same command with fewer --workers, it goes on where it stopped"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def watch_parent(clean_up_s: float = 10) -> None:
    """End this worker when its parent is killed, which then cannot end it: by SIGTERM, and at last at once.

    Ctrl-C is left to the parent. No effect in Ray's workers, whose signals are Ray's.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)
        time.sleep(clean_up_s)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class _Worker:
    """The Ray actor that runs jobs."""

    def __init__(self, work: "Work[Any, Any]") -> None:
        self._work = work
        work.start(*work.arguments)

    def run(self, job: Any) -> Any:
        return self._work.run(job)

    def answer(self) -> None:
        """Return, which tells that the worker lives."""


class Slot(Protocol):
    """A worker that runs one job at a time, so that its death concerns that job alone."""

    deaths: tuple[type[BaseException], ...]
    """Errors of a job whose worker died, or was told to stop by another program; `restart` has to follow."""

    def is_ready(self) -> bool:
        """Return whether a job would begin now: a cluster may have no room yet, or have lost the worker's node."""

    def submit(self, job: Any) -> "Future[Any]": ...

    def restart(self) -> None: ...

    def interrupt(self, *, kill: bool = False) -> None:
        """Tell the running job to end, which is one of `deaths`; `kill` where it did not obey."""

    def stop(self, *, is_running: bool) -> None: ...


@contextmanager
def open_slots(
    work: Work[Job, Result], *, workers: int, ray: str | None = None, context: BaseContext | None = None
) -> Iterator[list[Slot]]:
    """Yield workers for jobs that are not known yet; arguments are those of `run_jobs`, the caller stops each."""
    check_workers(workers, ray)
    if not ray:
        yield [_Process(work, context) for _ in range(workers)]
        return
    with _connect(ray) as module:
        processors = int(module.cluster_resources().get("CPU", 1))
        yield [_Actor(module, work) for _ in range(max(1, min(workers or processors, processors)))]


class _Process(Generic[Job, Result]):
    """A process of this machine."""

    deaths: tuple[type[BaseException], ...] = (BrokenProcessPool, KeyboardInterrupt)

    def __init__(self, work: Work[Job, Result], context: BaseContext | None) -> None:
        self._work, self._context = work, context
        self._pool: ProcessPoolExecutor | None = None

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=1, mp_context=self._context, initializer=self._work.start, initargs=self._work.arguments
            )
            self._pid = self._pool.submit(os.getpid)
        return self._pool

    def is_ready(self) -> bool:
        return True  # `submit` replaces a dead process

    def submit(self, job: Job) -> "Future[Result]":
        try:
            return self._start().submit(self._work.run, job)
        except BrokenProcessPool:  # it died between two jobs
            self.restart()
            return self._start().submit(self._work.run, job)

    def restart(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        self._pool = None

    def interrupt(self, *, kill: bool = False) -> None:
        if self._pool is not None:
            with suppress(BrokenProcessPool, ProcessLookupError):
                os.kill(self._pid.result(), signal.SIGKILL if kill else signal.SIGTERM)

    def stop(self, *, is_running: bool) -> None:
        """Send SIGTERM to a running job, and wait for the end of the process."""
        if self._pool is not None:
            if is_running:
                self.interrupt()
            self._pool.shutdown(cancel_futures=True)


class _Actor(Generic[Job, Result]):
    """A Ray actor."""

    def __init__(self, ray: Any, work: Work[Job, Result]) -> None:
        self._ray, self._work = ray, work
        self._actor: Any = None
        self._answer: Any = None
        self._has_answered = False
        errors = ray.exceptions
        self.deaths: tuple[type[BaseException], ...] = (
            *(errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError),
            *(errors.ObjectLostError, errors.RaySystemError),  # the node died with a result that was not fetched yet
        )

    def _start(self) -> Any:
        if self._actor is None:
            self._actor = self._ray.remote(num_cpus=1)(_Worker).remote(self._work)
            self._answer, self._has_answered = None, False
        return self._actor

    def is_ready(self) -> bool:
        """Return whether the actor has a place and answers, or cannot start, which its job is to say."""
        if self._answer is None:
            self._answer = self._start().answer.remote()
        if not self._ray.wait([self._answer], timeout=_ANSWER_S)[0]:
            return False
        answer, self._answer = self._answer, None
        try:
            self._ray.get(answer)
        except self.deaths:
            if not self._has_answered:
                return True
            self.restart()  # it died between two jobs
            return False
        self._has_answered = True
        return True

    def submit(self, job: Job) -> "Future[Result]":
        future: Future[Result] = self._start().run.remote(job).future()
        return future

    def restart(self) -> None:
        self.stop(is_running=False)
        self._actor = self._answer = None

    def interrupt(self, *, kill: bool = False) -> None:
        if self._actor is not None:
            self._ray.kill(self._actor)

    def stop(self, *, is_running: bool) -> None:
        self.interrupt()


def _run_with_retries(slots: Sequence[Slot], jobs: Sequence[Job], retries: Retries[Job, Result]) -> Iterator[Result]:
    pending = deque((job, 0) for job in jobs)
    idle, running = deque(slots), dict[Future[Result], tuple[Slot, Job, int]]()
    try:
        while pending or running:
            while pending and idle:
                slot, (job, failures) = idle.popleft(), pending.popleft()
                running[slot.submit(job)] = slot, job, failures
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                slot, job, failures = running.pop(future)
                error = future.exception()
                if isinstance(error, slot.deaths):
                    slot.restart()
                elif error is not None and not isinstance(error, PASSING_ERRORS):
                    raise error
                idle.append(slot)
                if error is None:
                    yield future.result()
                elif failures < retries.count:
                    pending.append((job, failures + 1))
                else:
                    yield retries.give_up(job, error)
    finally:
        for slot in slots:
            slot.stop(is_running=any(slot is other for other, _, _ in running.values()))


def _run_on_cluster(
    work: Work[Job, Result], jobs: Sequence[Job], workers: int, address: str, retries: Retries[Job, Result] | None
) -> Iterator[Result]:
    with _connect(address) as ray:
        processors = int(ray.cluster_resources().get("CPU", 1))
        count = max(1, min(workers or processors, processors, len(jobs)))
        try:
            if retries is not None:
                actors = [_Actor(ray, work) for _ in range(count)]
                yield from _run_with_retries(actors, jobs, retries)
                return
            actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(_Worker)
            pool = import_module("ray.util").ActorPool([actor.remote(work) for _ in range(count)])
            yield from pool.map_unordered(lambda worker, job: worker.run.remote(job), list(jobs))
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, CalsError) else error from None


@contextmanager
def _keep_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces by one that exits at once."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    """Connect to a cluster and yield the module `ray`."""
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ConfigError("ray: expected Ray to be installed, found none; pip install 'cals[ray]'") from error
    owns_ray = not ray.is_initialized()
    try:
        host, colon, port = address.rpartition(":")
        if colon and "/" not in host:
            socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()  # Ray waits for minutes
        if owns_ray:
            with _keep_sigterm():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"ray: expected a cluster at {address}, found none ({error}); run `ray start` first, or give --ray local"
        ) from error
    try:
        yield ray
    finally:
        if owns_ray:
            ray.shutdown()
