"""The same work by processes here and by a cluster of two nodes, with workers that die."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cals.errors import ConfigError, DataError
from cals.workers import Retries, Work, run_jobs

pytestmark = pytest.mark.slow

_base = 0


def start(base: int) -> None:
    global _base
    _base = base


def add(job: int) -> int:
    return _base + job


def add_but_die_once(job: tuple[int, str]) -> int:
    """Die at the first attempt of a job with a file; the next attempt succeeds."""
    number, mark = job
    if mark and not Path(mark).exists():
        Path(mark).touch()
        os._exit(9)
    return _base + number


def refuse(job: int) -> int:
    raise DataError(f"job {job}: refused")


def work(run: Any) -> Work[Any, int]:
    return Work(start=start, arguments=(100,), run=run, items="numbers")


def test_processes_do_all_jobs() -> None:
    assert sorted(run_jobs(work(add), range(8), workers=2)) == list(range(100, 108))


def test_a_process_that_dies_ends_the_work(tmp_path: Path) -> None:
    jobs = [(number, str(tmp_path / "mark") if number == 3 else "") for number in range(6)]
    with pytest.raises(DataError, match="2 to work through the numbers, found one killed"):
        list(run_jobs(work(add_but_die_once), jobs, workers=2))
    assert sorted(run_jobs(work(add_but_die_once), jobs, workers=2)) == list(range(100, 106))  # started again


def test_wrong_numbers_of_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1, found 0"):
        run_jobs(work(add), [1], workers=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start two nodes of one processor each on this machine."""
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install 'cals[ray]'")
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1] / "src")])
    nodes = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "env_vars": {"PYTHONPATH": paths}})
    nodes.add_node(num_cpus=1, env_vars={"PYTHONPATH": paths})
    yield nodes.address
    nodes.shutdown()


def test_a_cluster_does_all_jobs_and_outlives_a_worker(tmp_path: Path, cluster: str) -> None:
    jobs = [(number, str(tmp_path / "mark") if number == 3 else "") for number in range(12)]
    assert sorted(run_jobs(work(add_but_die_once), jobs, workers=0, ray=cluster)) == list(range(100, 112))
    assert (tmp_path / "mark").exists()
    with pytest.raises(DataError, match="job 1: refused"):
        list(run_jobs(work(refuse), [1], workers=0, ray=cluster))


def test_no_cluster_is_explained() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'cals[ray]'")
    with pytest.raises(ConfigError, match="expected a cluster at"):
        list(run_jobs(work(add), [1], workers=0, ray="127.0.0.1:1"))


def die_or_add(job: tuple[int, str]) -> int:
    """Die by SIGKILL as the job says: always, or once with a mark; else add."""
    number, mark = job
    if mark == "always" or (mark and not Path(mark).exists()):
        if mark != "always":
            Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return _base + number


def fail_once(job: tuple[int, str]) -> int:
    """Raise OSError at the first attempt of a job with a mark."""
    number, mark = job
    if mark and not Path(mark).exists():
        Path(mark).touch()
        raise OSError("stale file handle")
    return _base + number


def sleep_or_wait(job: tuple[str, str]) -> str:
    """Sleep for long and leave a file when that is broken off, or wait for a sleeper to have begun."""
    kind, folder = job
    if kind == "wait":
        while not Path(folder, "began").exists():
            time.sleep(0.05)
        return kind
    try:
        Path(folder, "began").touch()
        time.sleep(60)
    except KeyboardInterrupt:
        Path(folder, "cleaned").touch()
        raise
    return kind


def raise_at_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def give_up(job: Any, error: BaseException) -> Any:
    return f"{job[0]} given up after {type(error).__name__}"


def run_with_retries(run: Any, jobs: list[Any], count: int = 1, **where: Any) -> list[Any]:
    spawn = multiprocessing.get_context("spawn")
    retries = Retries(count=count, give_up=give_up)
    return sorted(run_jobs(work(run), jobs, retries=retries, context=spawn, **where), key=lambda x: (type(x) is int, x))


def test_a_killed_worker_costs_its_own_job_alone(tmp_path: Path) -> None:
    jobs = [(number, {1: "always", 3: str(tmp_path / "mark")}.get(number, "")) for number in range(6)]
    results = run_with_retries(die_or_add, jobs, workers=2)
    assert results == ["1 given up after BrokenProcessPool", 100, 102, 103, 104, 105]
    assert run_with_retries(die_or_add, [(1, str(tmp_path / "other"))], count=0, workers=2) == [
        "1 given up after BrokenProcessPool"
    ]


def test_an_error_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    jobs = [(number, str(tmp_path / "mark") if number == 3 else "") for number in range(4)]
    assert run_with_retries(fail_once, jobs, workers=1) == [100, 101, 102, 103]
    with pytest.raises(DataError, match="job 1: refused"):
        run_with_retries(refuse, [1], workers=1)


def test_closing_stops_running_jobs_which_clean_up(tmp_path: Path) -> None:
    naps = Work(start=raise_at_sigterm, arguments=(), run=sleep_or_wait, items="naps")
    retries: Retries[tuple[str, str], str] = Retries(count=1, give_up=give_up)
    spawn = multiprocessing.get_context("spawn")
    jobs = [("sleep", str(tmp_path)), ("wait", str(tmp_path))]
    results = run_jobs(naps, jobs, workers=2, context=spawn, retries=retries)
    assert next(results) == "wait"
    results.close()  # type: ignore[attr-defined]
    assert (tmp_path / "cleaned").exists()


def test_a_cluster_replaces_workers_too(tmp_path: Path, cluster: str) -> None:
    jobs = [(number, {1: "always", 3: str(tmp_path / "mark")}.get(number, "")) for number in range(5)]
    results = run_with_retries(die_or_add, jobs, workers=0, ray=cluster)
    assert results[0].startswith("1 given up after")
    assert results[1:] == [100, 102, 103, 104]
