"""The queue: order, keys, what a crash, a cancellation and a death of a worker do to a job."""

import threading
from pathlib import Path

import pytest

from cals.errors import ConfigError
from cals.inference.batch import Outcome
from cals.serve.store import MAX_STARTS, JobStore


def add(store: JobStore, name: str, key: str | None = None) -> str:
    return store.add(name, {"face": "f"}, f"digest of {name}", key).id


def finish(store: JobStore, name: str, status: str = "done") -> str:
    outcome = Outcome(line=1, out=Path("x.mp4"), status=status, frames=5, summary="a line")  # type: ignore[arg-type]
    return store.finish(name, outcome).state


def test_jobs_are_claimed_once_and_in_order(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "q")
    names = [add(store, f"job {number}") for number in range(40)]
    claimed: list[str] = []

    def claim() -> None:
        while (job := store.claim()) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(names)
    assert store.count_states()["running"] == 40
    first, second = add(store, "first"), add(store, "second")
    waiting = store.find(second)
    assert waiting is not None
    assert store.count_before(waiting) == 1
    assert [job.id for job in (store.claim(), store.claim()) if job] == [first, second]
    assert [job.id for job in store.list_jobs(count=2)] == [second, first]
    assert store.list_jobs("queued") == []


def test_a_key_is_one_job(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "q")
    assert add(store, "a", "key") == "a"
    assert add(store, "b", "key") == "a"
    assert store.find("b") is None
    store.claim()
    finish(store, "a")
    store.remove("a")
    assert add(store, "c", "key") == "c"


def test_a_crash_puts_running_jobs_back_but_not_for_ever(tmp_path: Path) -> None:
    for start in range(MAX_STARTS):
        store = JobStore(tmp_path / "q")
        store.recover()
        if not start:
            for name in ("a", "cancelled"):
                add(store, name)
            store.claim(), store.claim()
            store.cancel("cancelled")
        else:
            job = store.claim()
            assert job is not None
            assert (job.id, job.starts, job.deaths) == ("a", start + 1, 0)
        store.close()  # as the system does when the process is killed
    store = JobStore(tmp_path / "q")
    store.recover()
    assert store.claim() is None
    job = store.find("a")
    assert job is not None
    assert (job.state, job.summary.partition(",")[0]) == ("failed", "job: expected a server that outlives it")
    assert store.count_states() == {"queued": 0, "running": 0, "done": 0, "failed": 1, "cancelled": 1}


def test_states_end_as_they_should(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "q")
    for name in ("done", "failed", "cancelled late", "died", "died cancelled", "waiting"):
        add(store, name)
        if name != "waiting":
            store.claim()
    assert (finish(store, "done"), finish(store, "failed", "failed")) == ("done", "failed")
    running = store.cancel("cancelled late")
    assert running is not None
    assert (running.state, finish(store, "cancelled late")) == ("running", "cancelled")
    store.put_back("died", has_died=True)
    store.cancel("died cancelled")
    store.put_back("died cancelled", has_died=True)
    store.cancel("waiting")
    store.cancel("done")
    assert store.cancel("none") is None
    states = {name: job.state for name in store.list_ids() if (job := store.find(name)) is not None}
    assert states == {
        "done": "done",
        "failed": "failed",
        "cancelled late": "cancelled",
        "died": "queued",
        "died cancelled": "cancelled",
        "waiting": "cancelled",
    }
    store.remove("died")  # it has not ended
    died = store.claim()
    assert died is not None
    assert (died.id, died.deaths) == ("died", 1)
    assert {job.id for job in store.list_expired_jobs(0.0)} == states.keys() - {"died"}
    assert store.list_expired_jobs(3600) == []


def test_a_second_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JobStore(tmp_path / "q")
    monkeypatch.setattr("cals.serve.store._LOCK_TIMEOUT_S", 0.1)
    with pytest.raises(ConfigError, match="expected a database of this server alone, found: database is locked"):
        JobStore(tmp_path / "q")
    store.close()
    JobStore(tmp_path / "q").close()
    (tmp_path / "no").write_text("not a database" * 100)
    with pytest.raises(ConfigError, match="not a database"):
        JobStore(tmp_path / "no")
