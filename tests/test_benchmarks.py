"""Benchmarks are run by hand, so that nobody else notices when what they measure has been renamed."""

import os
import re
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
    process = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    missing = re.search(r"No module named '(\w+)", process.stderr)
    if process.returncode and missing and missing[1] != "cals" and not (FOLDER / f"{missing[1]}.py").exists():
        pytest.skip(f"{name} needs {missing[1]}, of an extra")
    assert not process.returncode, process.stderr
    return process.stdout


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
    milliseconds = {cells[1].strip(): float(cells[2]) for cells in (row.split("|") for row in rows[2:])}
    assert min(milliseconds[stage] for stage in ("drawing of mouths", "flow", "encoding", "all")) > 0
