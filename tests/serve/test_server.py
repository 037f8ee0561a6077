"""The server as a process with real videos: killed, its worker killed, a job cancelled, and ended by Ctrl-C."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from cals.cli import main
from cals.serve.store import JobStore
from serve_process import FACE, TOKEN, ServerProcess, wait_for, write_noise

pytestmark = pytest.mark.slow

LONG_S = 4.0
ROOT = Path(__file__).parents[2]


def find_worker(pid: int) -> int:
    """Return the child with the largest memory, which is the one with the model."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return max(children, key=lambda child: int(Path(f"/proc/{child}/statm").read_text().split()[1]))


def count_frames(data: bytes, path: Path) -> int:
    path.write_bytes(data)
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def run_documented(server: ServerProcess, folder: Path, language: str, text: str) -> str:
    """Run the block of docs/guide/serve.md with `text` in `folder`, and return what it prints."""
    page = (ROOT / "docs" / "guide" / "serve.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in page.split(f"```{language}\n")[1:]]
    (code,) = [block for block in blocks if text in block]
    address = str(server.client.base_url).rstrip("/")
    code = code.replace("http://localhost:8000", address).replace("localhost:8000", address)
    command = [sys.executable, "-c", code] if language == "py" else ["bash", "-euc", code]
    environment = os.environ | {"CALS_TOKEN": TOKEN}
    return subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def run_documented_client(server: ServerProcess, folder: Path) -> None:
    for name, path in {"me.jpg": FACE, "speech.wav": write_noise(folder / "noise.wav")}.items():
        shutil.copy(path, folder / name)
    assert run_documented(server, folder, "py", "me.jpg").startswith("5 frames generated")
    assert count_frames((folder / "talking.mp4").read_bytes(), folder / "copy.mp4") == 5


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker in /proc")
def test_kills_lose_no_job(tmp_path: Path, start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    begun = server.submit(tmp_path, LONG_S)
    waiting = server.submit(tmp_path, **{"Idempotency-Key": "one"})
    wait_for(lambda: server.show(begun)["frames"] > 0)
    server.process.kill()
    server.process.wait(300)

    server = start_server()
    assert server.submit(tmp_path, **{"Idempotency-Key": "one"})["id"] == waiting["id"]
    assert server.wait(begun, "done", "failed")["frames"] == 25 * LONG_S
    result = server.client.get(f"/v1/jobs/{begun['id']}/result")
    assert count_frames(result.content, tmp_path / "out.mp4") == 25 * LONG_S
    part = server.client.get(f"/v1/jobs/{begun['id']}/result", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert server.wait(waiting, "done", "failed")["frames"] == 5

    run_documented_client(server, tmp_path)

    unlucky = server.submit(tmp_path, LONG_S)
    wait_for(lambda: server.show(unlucky)["frames"] > 0)
    os.kill(find_worker(server.process.pid), signal.SIGKILL)
    assert server.wait(unlucky, "done", "failed")["state"] == "done"
    assert "cals_worker_deaths_total 1.0" in server.client.get("/metrics").text

    unwanted = server.submit(tmp_path, 60.0)
    wait_for(lambda: server.show(unwanted)["frames"] > 0)
    assert server.client.post(f"/v1/jobs/{unwanted['id']}/cancel").status_code == 202
    with server.client.stream("GET", f"/v1/jobs/{unwanted['id']}/events") as events:
        lines = [line for line in events.iter_lines() if line.startswith("data:")]
    assert '"state": "cancelled"' in lines[-1]

    last = server.submit(tmp_path)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(300) == 0
    store = JobStore(tmp_path / "data" / "jobs.sqlite")
    states = {job.id: job.state for job in store.list_jobs()}
    store.close()
    ended = {begun["id"]: "done", waiting["id"]: "done", unlucky["id"]: "done", unwanted["id"]: "cancelled"}
    assert states.items() >= (ended | {last["id"]: "queued"}).items()
    assert len(states) == 6  # with that of the client


def test_the_documented_dubs_are_done(tmp_path: Path, start_server: Callable[..., ServerProcess]) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    server = start_server("--inputs", str(ROOT / "examples"))
    assert "outside of the segments), 3.00 s in" in run_documented(server, tmp_path, "py", "speak")
    assert count_frames((tmp_path / "dubbed.mp4").read_bytes(), tmp_path / "copy.mp4") == 75
    report = server.client.get(f"/v1/jobs/{server.client.get('/v1/jobs').json()[0]['id']}/report").json()
    assert [segment["person"] for segment in report["segments"]] == ["1", "2"]
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    job = server.wait(json.loads(run_documented(server, tmp_path, "shell", "voices=@")), "done", "failed")
    assert (job["state"], job["frames"]) == ("done", 75), job
    body = {
        "face": "dub/two-people.mp4",
        "segments": "dub/talk.vtt",
        "voices": "dub/voices",
        "cast": ["Ann=1", "Ben=2"],
    }
    job = server.wait(server.client.post("/v1/jobs", json=body).json(), "done", "failed")
    assert (job["state"], job["frames"]) == ("done", 75), job
    voice = {"face": "dub/two-people.mp4", "audio": "dub/two-people.mp4", "voice": "dub/voices/1.wav"}
    job = server.wait(server.client.post("/v1/jobs", json=voice | {"background": "drop"}).json(), "done", "failed")
    assert (job["state"], job["frames"]) == ("done", 75), job
    assert str(ROOT) not in server.client.get("/v1/jobs").text


def test_a_public_host_needs_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CALS_TOKEN", raising=False)
    with pytest.raises(SystemExit) as end:
        main(["serve", "--host", "0.0.0.0", "--data", str(tmp_path / "data")])
    assert (end.value.code, "expected one where others can reach 0.0.0.0" in capsys.readouterr().err) == (1, True)
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SystemExit) as end:
        main(["serve", "--port", str(other.getsockname()[1]), "--data", str(tmp_path / "data")])
    assert (end.value.code, "expected to listen there, found Address already in use" in capsys.readouterr().err) == (
        1,
        True,
    )


def test_a_missing_extra_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as end:
        main(["serve", "--data", str(tmp_path / "data")])
    assert (end.value.code, "pip install 'cals[serve]'" in capsys.readouterr().err) == (1, True)
