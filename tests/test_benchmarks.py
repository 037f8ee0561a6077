"""Benchmarks are run by hand, so that nobody else notices when what they measure has been renamed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.slow


def run(name: str, *arguments: str) -> str:
    """Run a benchmark of this source tree, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent / "src")}
    command = [sys.executable, str(FOLDER / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if "No module named" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])  # an extra
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name", sorted(path.name for path in FOLDER.glob("*.py") if "ArgumentParser" in path.read_text(encoding="utf-8"))
)
def test_every_benchmark_starts(name: str) -> None:
    assert "usage" in run(name, "--help")


def test_make_bench_prints_its_table() -> None:
    table = run("generate.py", "--model", "debug", "--sizes", "320x240", "--seconds", "1", "--rounds", "1").splitlines()
    assert len(table) == 3
    assert len({line.count("|") for line in table}) == 1


def test_stages_are_measured() -> None:
    rows = run("stages.py", "--heights", "288", "--seconds", "1").splitlines()
    assert not [row for row in rows if "drawing of mouths" in row and " 0.0 " in row]
    assert rows[-1].startswith("| all")
