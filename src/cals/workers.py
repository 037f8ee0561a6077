"""Parallel work on many items: by processes on this machine, or on the nodes of a Ray cluster."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from cals.errors import CalsError, ConfigError, DataError

Job = TypeVar("Job")
Result = TypeVar("Result")
_CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, kw_only=True)
class Work(Generic[Job, Result]):
    """The task of a worker: `start(*arguments)` once, then `run` for every job; both are module-level functions."""

    start: Callable[..., None]
    arguments: tuple[Any, ...]
    run: Callable[[Job], Result]
    items: str
    """Name of the jobs in messages, e.g. clips."""


def run_jobs(
    work: Work[Job, Result],
    jobs: Sequence[Job],
    *,
    workers: int,
    ray: str | None = None,
    context: BaseContext | None = None,
) -> Iterator[Result]:
    """Run all jobs and yield their results in order of completion.

    `ray` is the address of a cluster: `auto` is the one that this machine belongs to, `local` one of this machine
    alone. At most `workers` run on its processors, 0 for all; its nodes must see the same files. A worker that dies on
    a cluster is started again, and so is its job; a dead local worker is a DataError.
    """
    check_workers(workers, ray)
    return _run_on_cluster(work, jobs, workers, ray) if ray else _run_in_pool(work, jobs, workers, context)


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


class _Worker:
    """The Ray actor that runs jobs."""

    def __init__(self, work: "Work[Any, Any]") -> None:
        self._work = work
        work.start(*work.arguments)

    def run(self, job: Any) -> Any:
        return self._work.run(job)


def _run_on_cluster(work: Work[Job, Result], jobs: Sequence[Job], workers: int, address: str) -> Iterator[Result]:
    try:
        ray: Any = import_module("ray")
        pools: Any = import_module("ray.util")
    except ImportError as error:
        raise ConfigError("ray: expected Ray to be installed, found none; pip install 'cals[ray]'") from error
    owns_ray = not ray.is_initialized()
    try:
        host, colon, port = address.rpartition(":")
        if colon and "/" not in host:
            socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()  # Ray waits for minutes
        if owns_ray:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"ray: expected a cluster at {address}, found none ({error}); run `ray start` first, or give --ray local"
        ) from error
    try:
        processors = int(ray.cluster_resources().get("CPU", 1))
        count = max(1, min(workers or processors, processors, len(jobs)))
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(_Worker)
        pool = pools.ActorPool([actor.remote(work) for _ in range(count)])
        yield from pool.map_unordered(lambda worker, job: worker.run.remote(job), list(jobs))
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, CalsError) else error from None
    finally:
        if owns_ray:
            ray.shutdown()
