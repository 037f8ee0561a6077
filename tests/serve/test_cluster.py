"""What the server makes of workers and nodes that die, with a stand-in for Ray; test_ray.py has the real one."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_runner import add, get_counter, wait_end

from cals.inference.batch import Outcome
from cals.inference.batch_jobs import BatchJob
from cals.serve import runner
from cals.serve.config import ServeConfig
from cals.serve.folders import ProgressFile
from cals.serve.service import Service
from fake_ray import FakeRay
from serve_process import wait_for

_release = threading.Event()


def start_worker(*arguments: Any) -> None:
    """Load no model."""


def refuse_start(*arguments: Any) -> None:
    raise ModuleNotFoundError("no module named cals")


def run_when_released(job: BatchJob) -> Outcome:
    """Tell how far the job is, and end when the test says so."""
    ProgressFile(job.out.parent).write(2, 5)
    assert _release.wait(30)
    job.out.write_bytes(b"a video")
    return Outcome(line=1, out=job.out, status="done", frames=5, summary="a line")


Start = Callable[..., tuple[Service, FakeRay]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(runner, "describe_settings", lambda config: {})
    monkeypatch.setattr(runner, "start_worker", start_worker)
    monkeypatch.setattr(runner, "run_with_progress", run_when_released)
    monkeypatch.setattr(runner, "_POLL_S", 0.01)
    monkeypatch.setattr(runner, "_IDLE_S", 0.01)
    services = []
    _release.clear()

    def start(room: int = 1) -> tuple[Service, FakeRay]:
        ray = FakeRay(room)
        monkeypatch.setitem(sys.modules, "ray", ray)
        services.append(Service(ServeConfig(data=tmp_path, workers=0, ray="auto")).__enter__())
        return services[-1], ray

    yield start
    _release.set()
    for service in services:
        service.__exit__(None, None, None)


def wait_running(service: Service, *job_ids: str) -> None:
    wait_for(lambda: all(service.describe(service.find(job_id)).frames == 2 for job_id in job_ids), 20)


def test_progress_and_results_come_from_the_shared_folder(start: Start) -> None:
    service, ray = start(room=2)
    jobs = [add(service) for _ in range(2)]
    wait_running(service, *jobs)
    assert [service.describe(service.find(job_id)).total for job_id in jobs] == [5, 5]
    _release.set()
    assert [wait_end(service, job_id).state for job_id in jobs] == ["done", "done"]
    assert (len(ray.actors), ray.settings["address"]) == (2, "auto")


def test_a_job_of_a_lost_node_waits_for_room_and_has_two_tries(start: Start) -> None:
    service, ray = start(room=2)
    jobs = [add(service) for _ in range(2)]
    wait_running(service, *jobs)
    ray.actors[0].die(with_node=True)
    wait_for(lambda: sorted(service.find(job_id).state for job_id in jobs) == ["queued", "running"], 20)
    lost = next(job_id for job_id in jobs if service.find(job_id).state == "queued")
    assert service.find(lost).deaths == 1
    ray.room = 1  # another node joins
    wait_running(service, lost)
    ray.actors[-1].die()
    job = wait_for(lambda: (job := service.find(lost)).has_ended and job, 20)
    assert (job.state, job.deaths, get_counter(service, "cals_worker_deaths_total")) == ("failed", 1, 2)
    _release.set()
    assert wait_end(service, next(job_id for job_id in jobs if job_id != lost)).state == "done"


def test_a_worker_that_dies_between_jobs_costs_none_a_try(start: Start) -> None:
    service, ray = start()
    _release.set()
    assert wait_end(service, add(service)).state == "done"
    ray.actors[0].die()
    job = wait_end(service, add(service))
    assert (job.state, job.deaths, len(ray.actors)) == ("done", 0, 2)


def test_a_cancelled_job_ends_its_worker(start: Start) -> None:
    service, ray = start()
    job_id = add(service)
    wait_running(service, job_id)
    service.remove(job_id)
    assert (ray.actors[0].is_dead, service.folders.locate(job_id).exists()) == (True, False)
    _release.set()
    assert wait_end(service, add(service)).state == "done"


def test_workers_that_cannot_start_fail_a_job(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "start_worker", refuse_start)
    service, _ = start()
    job = wait_end(service, add(service))
    assert (job.state, job.deaths) == ("failed", 1)
