"""Jobs that are interrupted, and several at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from generate_inputs import FACE, SPEECH

from cals import LipSync
from cals.inference.dub_segments import DubSegment
from cals.provenance.verify import verify_file
from drawing import read_without_manifest


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_leaves_nothing(how: signal.Signals, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    with av.open(str(long), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * 600), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    # A test runner may have told its children to ignore Ctrl-C; a terminal does not.
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); from cals.cli import main; main()"
    command = [sys.executable, "-c", code, "generate"]
    command += ["--face", str(FACE), "--audio", str(long), "--out", str(tmp_path / "out.mp4")]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for _ in range(600):
        if any(p.stat().st_size > 0 for p in tmp_path.glob(".out.mp4*")) or job.poll() is not None:
            break
        time.sleep(0.1)
    job.send_signal(how)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "no unfinished file was left" in errors
    assert [p.name for p in tmp_path.iterdir()] == ["long.wav"]


@pytest.mark.parametrize("people", [1, 2])
def test_a_job_can_be_cancelled_while_it_looks_ahead(
    people: int, talking: Path, shipped: LipSync, tmp_path: Path
) -> None:
    calls: list[tuple[int, int | None]] = []

    def cancel_at_once(done: int, total: int | None) -> None:
        calls.append((done, total))
        raise KeyboardInterrupt

    names = ["left", "right"][:people]
    segments = [DubSegment(start_s=Fraction(0), end_s=Fraction(1), audio=SPEECH, person=name) for name in names]
    with pytest.raises(KeyboardInterrupt):
        shipped.dub(talking, segments, tmp_path / "out.mp4", progress=cancel_at_once)
    [(done, total)] = calls
    assert done == 0
    assert total
    assert list(tmp_path.iterdir()) == []


def test_several_jobs_at_once(short: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from cals.cli import main; main()", "generate"]
    command += ["--face", str(FACE), "--audio", str(short), "--out"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    jobs = [subprocess.Popen([*command, str(tmp_path / f"{i}.mp4")], env=env) for i in range(2)]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    assert read_without_manifest(tmp_path / "0.mp4") == read_without_manifest(tmp_path / "1.mp4")
    assert [verify_file(tmp_path / f"{i}.mp4").trust for i in range(2)] == ["own", "own"]  # one key for both


def test_one_object_may_work_in_several_threads(talking: Path, shipped: LipSync) -> None:
    def render_pictures(face: Path) -> list[np.ndarray]:
        return [lip_frame.frame.rgb() for lip_frame in islice(shipped.frames(face, SPEECH), 24)]

    alone = [render_pictures(face) for face in (talking, FACE)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(render_pictures, (talking, FACE)))
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_nothing_stays_open_after_an_error(talking: Path, shipped: LipSync, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken network")

    monkeypatch.setattr("cals.inference.mouth_blend.transfer_pixels", broken)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="broken network") as caught:
        list(shipped.frames(talking, SPEECH))
    assert caught.value is not None  # the exception, and its frames, are still alive here
    # Readers that other tests left to the garbage collector are not this test's business.
    assert [t.name for t in set(threading.enumerate()) - before if t.name.startswith("cals-")] == []


def test_iterator_stops_early_and_cleanly(shipped: LipSync) -> None:
    frames = shipped.frames(FACE, SPEECH)
    first = next(frames)
    assert first.frame.rgb().shape == (512, 512, 3)
    assert first.status == "generated"
    frames.close()
