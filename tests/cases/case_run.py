"""Runs of `cals generate` in this process, judged by the rules of `benchmarks/cases.py`."""

import json
import logging
import signal
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import av
import pytest

from cals.cli import main
from cases import Facts, Result, check_end, compare_output, probe, probe_as_face

LIMIT_S = 60
"""Of one run, which takes a second or two."""


@dataclass
class CaseRun:
    """How a run ended, what it said, and what came out."""

    status: int
    lines: list[str]
    """On stderr, from Python and from libraries."""
    closing: str
    out: Path
    output: Facts | None = None
    report: dict[str, Any] | None = None
    """Of --report."""

    def get_statuses(self) -> list[str]:
        """Return what happened to each frame."""
        assert self.report is not None
        return [frame["status"] for frame in self.report["per_frame"]]

    def list_spans(self) -> list[tuple[str, int]]:
        """Return each status and for how many frames on end it holds."""
        return [(status, len(list(group))) for status, group in groupby(self.get_statuses())]


def run_case(
    face: Path | str, audio: Path | str, out: Path, capfd: pytest.CaptureFixture[str], *options: str
) -> CaseRun:
    """Run one pair of files into `out`, alone in its folder; fail where any run would be at fault."""
    report = out.parent.parent / "report.json"
    arguments = ["generate", "--face", str(face), "--audio", str(audio), "--out", str(out), "--report", str(report)]
    capfd.readouterr()
    status = call([*arguments, *options])
    captured = capfd.readouterr()
    lines = [line.strip() for line in captured.err.splitlines() if line.strip()]
    result = Result(out.name, status, 0.0, 0.0, lines)
    run = CaseRun(status, lines, captured.out.strip(), out)
    check_end(result, out)
    if status == 0:
        run.output = probe(out)
        run.report = json.loads(report.read_text())
        assert run.report["frames"] == run.output.frames
        compare_output(result, run.output, probe_as_face(Path(face)), _probe_sound(Path(audio), options))
    else:
        assert not report.exists()
    assert not result.faults, (result.faults, lines)
    return run


def _probe_sound(audio: Path, options: tuple[str, ...]) -> Facts | None:
    """Probe the speech; None where the output need not be as long, or PyAV alone cannot decode it."""
    try:
        return None if "--length" in options else probe(audio)
    except av.FFmpegError:
        return None


def call(arguments: list[str]) -> int:
    """Return the exit status of a command, which writes to stderr as in a process of its own."""
    root = logging.getLogger()
    kept = root.handlers[:]
    root.handlers[:] = []  # else the command leaves its lines to pytest's
    previous = signal.signal(signal.SIGALRM, _stop)
    signal.alarm(LIMIT_S)
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        root.handlers[:] = kept
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"still running after {LIMIT_S} s")
