"""Batches: resumed, refused, killed and stopped, with real videos of a photo and a short sound."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cals.cli import main
from cals.errors import ConfigError
from cals.inference import batch
from cals.inference.batch import BatchConfig, Outcome, run_batch
from cals.inference.batch_jobs import BatchJob, read_jobs
from cals.workers import Retries, Work
from ctrl_c import hear_ctrl_c
from drawing import read_without_manifest, write_wav

pytestmark = pytest.mark.slow

FACE = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
DEBUG = BatchConfig(model="debug")


def write_jobs(folder: Path, *rows: str, columns: str = "") -> Path:
    """Write a table of jobs with a photo and a noise each; `rows` are outputs and the cells after them."""
    shutil.copy(FACE, folder / "face.jpg")
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000 // 5)
    write_wav(folder / "noise.wav", noise.astype(np.float32), 16_000)
    return write_table(folder, *rows, columns=columns)


def write_table(folder: Path, *rows: str, columns: str = "") -> Path:
    lines = [f"face,audio,out{columns}", *(f"face.jpg,noise.wav,{row}" for row in rows)]
    (folder / "jobs.csv").write_text("\n".join(lines) + "\n")
    return folder / "jobs.csv"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run jobs in this process, which starts no workers."""

    def run_jobs(
        work: Work[BatchJob, Outcome], jobs: Sequence[BatchJob], *, retries: Retries[BatchJob, Outcome], **_: Any
    ) -> Iterator[Outcome]:
        config, settings, _threads = work.arguments
        monkeypatch.setattr(batch, "_worker", batch._Worker(batch._build_lips(config), config, settings))
        for job in jobs:
            try:
                yield work.run(job)
            except OSError as error:
                yield retries.give_up(job, error)

    monkeypatch.setattr(batch, "run_jobs", run_jobs)


def run(jobs: Path, config: BatchConfig = DEBUG, **arguments: Any) -> dict[str, str]:
    """Run a batch; return name -> status."""
    return {outcome.out.name: outcome.status for outcome in run_batch(read_jobs(jobs), config, **arguments)}


@pytest.mark.usefixtures("here")
def test_whole_outputs_are_skipped_until_something_changes(tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path, "a.mp4,", "b.mp4,b.json", columns=",report")
    assert run(jobs) == {"a.mp4": "done", "b.mp4": "done"}
    before = read_without_manifest(tmp_path / "a.mp4")
    assert run(jobs) == {"a.mp4": "skipped", "b.mp4": "skipped"}
    (tmp_path / "b.json").unlink()
    assert run(jobs) == {"a.mp4": "skipped", "b.mp4": "done"}
    write_table(tmp_path, "a.mp4,,", "b.mp4,b.json,40", columns=",report,crf")
    assert run(jobs) == {"a.mp4": "skipped", "b.mp4": "done"}
    os.utime(tmp_path / "noise.wav", ns=(1, 1))
    assert run(jobs) == {"a.mp4": "done", "b.mp4": "done"}
    assert read_without_manifest(tmp_path / "a.mp4") == before
    (tmp_path / "a.mp4").write_bytes(
        (tmp_path / "a.mp4").read_bytes()[:-1]
    )  # a damaged output is not whole, and nothing says whose it is
    assert run(jobs) == {"a.mp4": "failed", "b.mp4": "skipped"}
    assert run(jobs, BatchConfig(model="debug", force=True)) == {"a.mp4": "done", "b.mp4": "skipped"}


@pytest.mark.usefixtures("here")
def test_a_bad_job_fails_alone_and_results_are_appended(tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path, "a.mp4", "b.mp4")
    jobs.write_text(jobs.read_text() + "none.jpg,noise.wav,c.mp4\n")
    (tmp_path / "b.mp4").write_bytes(b"of another program")
    results = tmp_path / "results.jsonl"
    results.write_text('{"cut sho')
    state = tmp_path / "state"
    config = BatchConfig(model="debug", state=state)
    assert run(jobs, config, results=results) == {"a.mp4": "done", "b.mp4": "failed", "c.mp4": "failed"}
    assert (tmp_path / "b.mp4").read_bytes() == b"of another program"
    assert [path.name.split("-")[0] for path in state.iterdir()] == ["a"]
    first, *records = results.read_text().splitlines()
    assert first == '{"cut sho'
    assert [json.loads(record)["status"] for record in records] == ["done", "failed", "failed"]
    assert json.loads(records[0]) | {"out": "", "wall_s": 0} == {
        "line": 2,
        "out": "",
        "status": "done",
        "frames": 5,
        "seconds": 0.2,
        "wall_s": 0,
        "error": None,
    }
    assert "use --force" in json.loads(records[1])["error"]
    assert "found nothing there" in json.loads(records[2])["error"]


@pytest.mark.usefixtures("here")
def test_only_errors_that_may_pass_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = read_jobs(write_jobs(tmp_path, "a.mp4"))
    for error, may_pass in [(OSError(116, "Stale file handle"), True), (FileNotFoundError(2, "gone"), False)]:

        def fail(*_: Any, error: OSError = error, **__: Any) -> None:
            raise ConfigError("a.mp4: expected x, found y") from error

        monkeypatch.setattr(batch.LipSync, "generate", fail)
        list(run_batch(jobs, DEBUG))
        if may_pass:
            with pytest.raises(OSError, match="expected x, found y"):
                batch.run_job(jobs[0])
        else:
            assert batch.run_job(jobs[0]).status == "failed"
    assert [path.name for path in tmp_path.iterdir() if ".job.json" in path.name] == []


@pytest.mark.usefixtures("here")
def test_with_a_cache_the_longest_speech_of_a_face_comes_first(tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    shutil.copy(FACE, tmp_path / "other.jpg")
    write_wav(tmp_path / "longer.wav", np.full(16_000 // 4, 0.1, np.float32), 16_000)
    text = jobs.read_text().replace("face.jpg,noise.wav,b", "other.jpg,noise.wav,b")
    jobs.write_text(text.replace("noise.wav,c", "longer.wav,c"))
    assert list(run(jobs, BatchConfig(model="debug", cache=tmp_path / "cache"))) == ["c.mp4", "a.mp4", "b.mp4"]
    assert (tmp_path / "cache").is_dir()


def test_conflicts_are_told_before_any_job(tmp_path: Path) -> None:
    jobs = read_jobs(write_jobs(tmp_path, "a.mp4"))
    with pytest.raises(ConfigError, match="line 2: expected an output of its own"):
        run_batch(jobs, DEBUG, results=tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match="workers: expected at least 1"):
        run_batch(jobs, DEBUG, workers=0)
    with pytest.raises(ConfigError, match="retries: expected 0 or more"):
        BatchConfig(retries=-1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.jpg", "jobs.csv", "noise.wav"]


def wait_for(condition: Callable[[], Any], limit_s: float = 120) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "expected the job to begin"
        time.sleep(0.02)


def has_begun(folder: Path) -> bool:
    """Return whether a video is being written."""
    return any(path.name.startswith(".a.mp4") for path in folder.iterdir())


def test_a_killed_worker_loses_its_own_job_alone(tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path, "a.mp4", "b.mp4")
    write_wav(tmp_path / "long.wav", np.full(16_000 * 120, 0.1, np.float32), 16_000)
    jobs.write_text(jobs.read_text().replace("noise.wav,a.mp4", "long.wav,a.mp4"))

    def kill() -> None:
        wait_for(lambda: has_begun(tmp_path))
        for process in multiprocessing.active_children():
            process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    config = BatchConfig(model="debug", retries=0)
    outcomes = {outcome.out.name: outcome for outcome in run_batch(read_jobs(jobs), config, results=tmp_path / "r")}
    killer.join()
    assert (outcomes["a.mp4"].status, outcomes["b.mp4"].status) == ("failed", "done")
    assert "found it killed" in outcomes["a.mp4"].summary
    assert not (tmp_path / "a.mp4").exists()


def test_ctrl_c_leaves_nothing_half_written_and_the_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = write_jobs(tmp_path, "b.mp4", "a.mp4")
    write_wav(tmp_path / "long.wav", np.full(16_000 * 120, 0.1, np.float32), 16_000)
    jobs.write_text(jobs.read_text().replace("noise.wav,a.mp4", "long.wav,a.mp4"))
    command = ["batch", str(jobs), "--model", "debug", "--retries", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cals", *command], stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    )
    wait_for(lambda: has_begun(tmp_path) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error.splitlines()[-1]) == (130, "cals: stopped; no unfinished file was left")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["b.mp4", "b.mp4.job.json", "face.jpg", "jobs.csv", "long.wav", "noise.wav"]
    jobs.write_text(jobs.read_text().replace("long.wav", "none.wav"))
    with pytest.raises(SystemExit) as end:
        main(command)
    lines = capsys.readouterr()
    assert end.value.code == 1
    assert "b.mp4: whole and unchanged, skipped" in lines.out
    assert f"{jobs}: 2 jobs, 1 failed, 1 skipped" in lines.out
    assert "expected 2 whole outputs, found 1 failed" in lines.err
