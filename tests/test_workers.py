"""The same work by processes here and by a cluster of two nodes, with workers that die."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cals.errors import ConfigError, DataError
from cals.workers import Work, run_jobs

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
    paths = str(Path(__file__).parent)
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
