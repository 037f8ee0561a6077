"""Load test of `cals serve`: many clients, half of their jobs bad; none lost, none twice, memory flat, nothing outside.

Clients send jobs of the model `debug` at once and follow each to its end. Half are bad: no media, a playlist, a zip, a
path outside, an option out of range, a request that is too large. Every second good job is sent again with its key, as
after a broken connection. In the middle the server is killed by SIGKILL and started again, unless --no-kill.
Run: python benchmarks/serve.py [--jobs 100] [--clients 20] [--workers 1]; exit 1 when anything is wrong.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

EXAMPLES = Path(__file__).parents[1] / "examples"
TOKEN = "a-token-of-the-load-test"
ENDED = ("done", "failed", "cancelled")
EXPECTED = {"good": "done", "no face in it": "failed", "too large": "refused 413"}
"""What becomes of jobs; all others are refused as 422."""
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


@dataclass
class Server:
    """The server as a process, with the largest memory of it and its children so far."""

    data: Path
    workers: int
    port: int
    process: subprocess.Popen[str] | None = None
    client: httpx.Client = field(init=False)
    samples: list[tuple[float, float]] = field(default_factory=list)
    """Seconds, MB of the server process itself."""

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=120)

    def start(self) -> None:
        command = [sys.executable, "-m", "cals", "serve", "--data", str(self.data), "--port", str(self.port)]
        command += ["--model", "debug", "--workers", str(self.workers), "--max-upload-mb", "3"]
        command += ["--inputs", str(EXAMPLES)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"CALS_TOKEN": TOKEN}
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "the server did not start"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def measure_mb(self) -> float:
        assert self.process is not None
        with suppress(OSError, IndexError):
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return 0.0


def build_speech() -> bytes:
    """Return the first fifth of a second of the example's speech."""
    data = (EXAMPLES / "speech.wav").read_bytes()
    rate_hz = int.from_bytes(data[24:28], "little")
    sound = data[44 : 44 + 2 * (rate_hz // 5)]
    return data[:4] + (36 + len(sound)).to_bytes(4, "little") + data[8:40] + len(sound).to_bytes(4, "little") + sound


def build_requests(count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the name of each job and the arguments of its request; every second one is bad."""
    face, speech = (EXAMPLES / "astronaut.jpg").read_bytes(), build_speech()

    def form(face: bytes, speech: bytes, **fields: str) -> dict[str, Any]:
        return {"files": {"face": ("../../face.jpg", face), "audio": ("a.wav", speech)}, "data": fields}

    bad = [
        ("no media", form(b"not a picture" * 100, speech)),
        ("playlist", form(face, PLAYLIST)),
        ("zip", form(b"PK\x03\x04" + bytes(1000), speech)),
        ("path outside", {"json": {"face": "../../../../etc/passwd", "audio": "speech.wav"}}),
        ("url", {"json": {"face": "http://127.0.0.1/face.jpg", "audio": "speech.wav"}}),
        ("option", form(face, speech, strength="99")),
        ("too large", form(bytes(4_000_000), speech)),
        ("no face in it", form((EXAMPLES.parent / "docs" / "results-context.png").read_bytes(), speech)),
    ]
    good = form(face, speech)
    return [bad[index // 2 % len(bad)] if index % 2 else ("good", good) for index in range(count)]


def send(server: Server, request: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
    """Send a job until there is an answer; the server may be killed meanwhile."""
    while True:
        try:
            answer = server.client.post("/v1/jobs", headers={"Idempotency-Key": key}, **request)
            return answer.status_code, answer.json()
        except httpx.TransportError:
            time.sleep(0.5)


def follow(server: Server, job_id: str) -> str:
    """Return the state in which a job ends; one that is lost is `lost`."""
    while True:
        with suppress(httpx.TransportError):
            answer = server.client.get(f"/v1/jobs/{job_id}")
            if answer.status_code == 404:
                return "lost"
            if answer.json()["state"] in ENDED:
                return str(answer.json()["state"])
        time.sleep(1)


def run_client(server: Server, number: int, job: tuple[str, dict[str, Any]]) -> tuple[str, str, str]:
    """Send a job, maybe twice, and return its name, its id and what became of it."""
    name, request = job
    status, body = send(server, request, f"key-{number}")
    if status not in (200, 202):
        return name, "", f"refused {status}"
    if number % 4 == 0:
        again = send(server, request, f"key-{number}")
        if again[1].get("id") != body["id"]:
            return name, body["id"], "twice"
    return name, body["id"], follow(server, body["id"])


def watch(server: Server, end: threading.Event, start_s: float) -> None:
    while not end.wait(0.5):
        if mb := server.measure_mb():
            server.samples.append((time.monotonic() - start_s, mb))


def check(server: Server, results: list[tuple[str, str, str]], before: set[str], outside: Path) -> list[str]:
    """Return what is wrong."""
    known = server.client.get("/v1/jobs?limit=1000").json()
    ids = [job_id for _, job_id, _ in results if job_id]
    wrong = []
    if sorted(ids) != sorted(job["id"] for job in known):
        wrong.append(f"jobs: expected the {len(ids)} that were taken, found {len(known)}")
    for name, _, result in results:
        expected = EXPECTED.get(name, "refused 422")
        if result != expected:
            wrong.append(f"{name}: expected {expected}, found {result}")
    for job in known:
        if job["state"] == "done":
            video = server.client.get(f"/v1/jobs/{job['id']}/result").content
            if video[4:8] != b"ftyp" or job["frames"] not in (0, 5):
                wrong.append(
                    f"{job['id']}: expected a video of 5 frames, found {len(video)} bytes, {job['frames']} frames"
                )
    folders = {path.name for path in (server.data / "jobs").iterdir()}
    done = {job["id"] for job in known if job["state"] == "done"}
    if folders != done:
        wrong.append(f"folders: expected the {len(done)} of jobs that are done, found {len(folders)}")
    if {str(path) for path in outside.rglob("*") if server.data not in path.parents} != before:
        wrong.append("files: expected none outside the server's folder, found some")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-kill", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        server = Server(data=Path(folder) / "data", workers=options.workers, port=port)
        server.data.mkdir()
        before = {str(path) for path in Path(folder).rglob("*") if server.data not in path.parents}
        server.start()
        wrong = run_load(server, options, before, Path(folder))
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
    for line in wrong:
        print("WRONG", line)
    sys.exit(bool(wrong))


def run_load(server: Server, options: argparse.Namespace, before: set[str], outside: Path) -> list[str]:
    """Send all jobs, print the table and return what is wrong."""
    jobs, end = build_requests(options.jobs), threading.Event()
    start_s = time.monotonic()
    threading.Thread(target=watch, args=(server, end, start_s), daemon=True).start()
    with ThreadPoolExecutor(options.clients) as pool:
        futures = [pool.submit(run_client, server, number, job) for number, job in enumerate(jobs)]
        if not options.no_kill:
            while sum(future.done() for future in futures) < options.jobs // 2:
                time.sleep(0.2)
            server.kill()
            server.samples.clear()
            server.start()
        results = [future.result() for future in futures]
    end.set()
    wall_s = time.monotonic() - start_s
    wrong = check(server, results, before, outside)
    print(f"| {'job':<14} | {'result':<12} | {'count':>5} |\n|{'-' * 16}|{'-' * 14}|{'-' * 7}|")
    for (name, result), count in sorted(Counter((name, result) for name, _, result in results).items()):
        print(f"| {name:<14} | {result:<12} | {count:>5} |")
    half = len(server.samples) // 2
    first, last = (max((mb for _, mb in part), default=0.0) for part in (server.samples[:half], server.samples[half:]))
    print(f"\n{options.jobs} jobs of {options.clients} clients in {wall_s:.0f} s, {options.workers} workers")
    print(f"memory of the server since it was started: at most {first:.0f} MB in the first half, {last:.0f} MB later")
    return wrong


if __name__ == "__main__":
    main()
