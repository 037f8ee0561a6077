"""What the runner makes of jobs whose workers end them, fail, die, hang or are told to stop, with played workers."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cals.errors import CalsError
from cals.inference.batch import Outcome
from cals.inference.batch_jobs import BatchJob
from cals.serve import runner
from cals.serve.config import RequestError, ServeConfig
from cals.serve.limits import ServeLimits
from cals.serve.service import Service
from cals.serve.store import Job, create_id
from serve_process import wait_for

Play = Callable[[BatchJob], BaseException | str]
"""What a played worker makes of a job: an error, or the status of its outcome; "hang" waits to be told."""


class PlayedSlot:
    """A worker that does as `play` says, in this process."""

    deaths = (BrokenProcessPool, KeyboardInterrupt)

    def __init__(self, play: Play) -> None:
        self.play, self.calls = play, list[str]()
        self._future: Future[Outcome] = Future()
        self.obeys, self.has_room = True, True

    def is_ready(self) -> bool:
        return self.has_room

    def submit(self, job: BatchJob) -> "Future[Outcome]":
        self.calls.append("submit")
        self._future, result = Future(), self.play(job)
        if isinstance(result, BaseException):
            self._future.set_exception(result)
        elif result != "hang":
            job.out.write_bytes(b"a video")
            outcome = Outcome(line=1, out=job.out, status=result, frames=5, summary="a line")  # type: ignore[arg-type]
            self._future.set_result(outcome)
        return self._future

    def restart(self) -> None:
        self.calls.append("restart")

    def interrupt(self, *, kill: bool = False) -> None:
        self.calls.append("kill" if kill else "interrupt")
        if kill or self.obeys:
            self._future.set_exception(BrokenProcessPool() if kill else KeyboardInterrupt())

    def stop(self, *, is_running: bool) -> None:
        self.calls.append("stop")


Start = Callable[..., tuple[Service, PlayedSlot]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(runner, "describe_settings", lambda config: {})
    monkeypatch.setattr(runner, "_POLL_S", 0.01)
    services = []

    def start(play: Play, **settings: Any) -> tuple[Service, PlayedSlot]:
        slot = PlayedSlot(play)

        @contextmanager
        def open_slots(*_: Any, **__: Any) -> Iterator[list[PlayedSlot]]:
            yield [slot]

        monkeypatch.setattr(runner, "open_slots", open_slots)
        services.append(Service(ServeConfig(data=tmp_path, limits=ServeLimits(**settings))).__enter__())
        return services[-1], slot

    yield start
    for service in services:
        service.__exit__(None, None, None)


def add(service: Service) -> str:
    """Queue a job past the checks of requests."""
    job_id = create_id()
    folder = service.folders.create(job_id)
    for name in ("face", "audio"):
        (folder / name).write_bytes(b"an upload")
    row = {"face": str(folder / "face"), "audio": str(folder / "audio"), "out": str(folder / "result.mp4")}
    service.store.add(job_id, row, "digest", None)
    service._runner.wake()
    return job_id


def wait_end(service: Service, job_id: str) -> Job:
    job: Job = wait_for(lambda: (job := service.store.find(job_id)) is not None and job.has_ended and job, 20)
    wait_for(lambda: 'state="running"} 0.0' in service.metrics.render().decode(), 20)
    return job


def get_counter(service: Service, name: str) -> float:
    lines = service.metrics.render().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_a_result_is_kept_and_its_uploads_are_not(start: Start) -> None:
    service, slot = start(lambda job: "done")
    job = wait_end(service, add(service))
    assert (job.state, job.frames, service.locate_result(job.id).read_bytes()) == ("done", 5, b"a video")
    wait_for(lambda: [path.name for path in service.folders.locate(job.id).iterdir()] == ["result.mp4"], 20)
    assert slot.calls == ["submit"]


def test_errors_fail_a_job_and_paths_are_not_told(start: Start) -> None:
    service, _ = start(lambda job: CalsError(f"{job.face}: expected a face, found none"))
    job = wait_end(service, add(service))
    view = service.describe(job)
    assert (view.state, view.error) == ("failed", f"CalsError: {job.id}/face: expected a face, found none")
    wait_for(lambda: not service.folders.locate(job.id).exists(), 20)
    with pytest.raises(RequestError, match="expected one that is done, found it failed"):
        service.locate_result(job.id)


@pytest.mark.parametrize(("error", "restarts"), [(BrokenProcessPool("killed"), True), (OSError("stale"), False)])
def test_a_worker_that_dies_costs_one_try(start: Start, error: BaseException, restarts: bool) -> None:
    tries = threading.Semaphore(1)
    service, slot = start(lambda job: error if tries.acquire(blocking=False) else "done")
    job = wait_end(service, add(service))
    assert (job.state, job.deaths) == ("done", 1)
    assert slot.calls == ["submit", *(["restart"] if restarts else []), "submit"]
    slot.play = lambda job: error
    again = wait_end(service, add(service))
    assert (again.state, again.deaths, get_counter(service, "cals_worker_deaths_total")) == ("failed", 1, 3)
    assert again.summary in (
        "expected a worker to end the job, found it killed, most often for want of memory; give fewer workers",
        "stale",
    )


def test_a_running_job_is_cancelled_or_removed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service, slot = start(lambda job: "hang")
    first = add(service)
    wait_for(lambda: service.find(first).state == "running", 20)
    service.cancel(first)
    job = wait_end(service, first)
    assert (job.state, job.summary, slot.calls) == ("cancelled", "", ["submit", "interrupt", "restart"])
    monkeypatch.setattr(runner, "_OBEY_S", 0.05)
    slot.obeys = False
    second = add(service)
    wait_for(lambda: service.find(second).state == "running", 20)
    service.remove(second)
    assert slot.calls[3:6] == ["submit", "interrupt", "kill"]
    with pytest.raises(RequestError, match="expected one of this server"):
        service.find(second)
    assert not service.folders.locate(second).exists()


def test_a_job_that_takes_too_long_fails(start: Start) -> None:
    service, slot = start(lambda job: "hang", max_job_s=0.05)
    job = wait_end(service, add(service))
    assert (job.state, slot.calls[:3]) == ("failed", ["submit", "interrupt", "restart"])
    assert job.summary.startswith("job: expected at most 0.05 s of work")


def test_errors_that_name_a_file_of_other_bytes_are_kept(start: Start) -> None:
    service, _ = start(lambda job: CalsError("expected a face in \udcff.mp4, found none"))
    job = wait_end(service, add(service))
    assert (job.state, job.summary) == ("failed", "CalsError: expected a face in \\udcff.mp4, found none")


def test_a_job_waits_for_a_worker_with_a_place(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_IDLE_S", 0.01)
    service, slot = start(lambda job: "done", max_job_s=0.2)
    slot.has_room = False
    job_id = add(service)
    time.sleep(0.5)
    assert (service.find(job_id).state, service.find(job_id).starts, slot.calls) == ("queued", 0, [])
    slot.has_room = True
    assert wait_end(service, job_id).state == "done"


def test_the_end_of_the_server_puts_jobs_back(start: Start, tmp_path: Path) -> None:
    service, slot = start(lambda job: "hang")
    job_id = add(service)
    wait_for(lambda: service.find(job_id).state == "running", 20)
    service._runner.close()
    job = service.find(job_id)
    assert (job.state, job.starts, job.deaths, slot.calls[-1]) == ("queued", 0, 0, "stop")
    assert (service.folders.locate(job_id) / "face").exists()


def test_a_whole_result_is_not_made_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server was killed after the worker had finished, and before it could be noted."""
    service, slot = start(lambda job: OSError("the server is killed here"))
    monkeypatch.setattr("cals.inference.batch_state.JobState.is_done", lambda self: True)
    job = wait_end(service, add(service))
    assert (job.state, job.deaths, slot.calls) == ("done", 1, ["submit"])
