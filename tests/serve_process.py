"""`cals serve` as a process that can be killed, and small jobs for it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from drawing import write_wav

FACE = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
TOKEN = "a-token-of-the-tests"


def wait_for(condition: Callable[[], Any], limit_s: float = 600) -> Any:
    """Wait until `condition` is true, and return its value."""
    end_s = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end_s, "expected the server to get there"
        time.sleep(0.05)
    return value


def write_noise(path: Path, seconds: float = 0.2) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal(int(16_000 * seconds))
    write_wav(path, noise.astype(np.float32), 16_000)
    return path


def build_upload(folder: Path, seconds: float = 0.2) -> dict[str, Any]:
    """Build the files of a job: a photo and a noise."""
    noise = write_noise(folder / f"noise-{seconds}.wav", seconds)
    return {"face": ("me.jpg", FACE.read_bytes()), "audio": ("noise.wav", noise.read_bytes())}


class ServerProcess:
    """`cals serve` with the debug model as a process."""

    def __init__(self, data: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "cals", "serve", "--data", str(data), "--port", "0", "--model", "debug"]
        environment = os.environ | {"CALS_TOKEN": TOKEN}
        self.process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        assert line, "expected the server to start"
        self.client = httpx.Client(
            base_url=line.partition("/docs")[0], headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
        )

    def submit(self, folder: Path, seconds: float = 0.2, **headers: str) -> dict[str, Any]:
        response = self.client.post("/v1/jobs", files=build_upload(folder, seconds), headers=headers)
        assert response.status_code in (200, 202), response.text
        job: dict[str, Any] = response.json()
        return job

    def show(self, job: dict[str, Any]) -> dict[str, Any]:
        view: dict[str, Any] = self.client.get(f"/v1/jobs/{job['id']}").json()
        return view

    def wait(self, job: dict[str, Any], *states: str) -> dict[str, Any]:
        view: dict[str, Any] = wait_for(lambda: (view := self.show(job))["state"] in states and view)
        return view

    def stop(self) -> None:
        self.client.close()
        with suppress(ProcessLookupError):
            self.process.terminate()
        self.process.wait(300)
