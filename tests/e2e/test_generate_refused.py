"""What cannot be generated is refused in one line, and no file is left or lost."""

import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from generate_inputs import FACE, SPEECH, read_times_s, run_failing, write_video_with_gap

from cals import CheckpointError, ConfigError, LipSync, MediaError, NoFaceError, load_model
from cals.cli import main
from drawing import write_wav


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.mp4", None, "missing.mp4"),
        ("text.mp4", b"this is no video\n" * 50, "text.mp4"),
        ("empty.mp4", b"", "empty.mp4"),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "broken.png"),
    ],
)
def test_bad_faces(
    name: str, content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    message = run_failing(
        ["generate", "--face", str(tmp_path / name), "--audio", str(SPEECH), "--out", str(tmp_path / "o.mp4")], capsys
    )
    assert message.count("\n") == 1
    assert words in message
    assert "expected" in message
    assert "found" in message
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--audio", str(FACE)], "sound"),
        (["--model", "debg"], "did you mean 'debug'"),
        (["--person", "the tall one"], "largest"),
        (["--face-models", "nowhere"], "nowhere"),
        (["--batch", "0"], "batch"),
        (["--report", "no such folder/r.json"], "no such folder"),
        (["--codec", "no-such-codec"], "no-such-codec"),
        (["--crf", "999"], "crf"),
        (["--device", "warp-drive"], "warp-drive"),
        pytest.param(
            ["--device", "cuda"], "cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has one")
        ),
    ],
)
def test_bad_options(extra: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"--face": str(FACE), "--audio": str(SPEECH), "--out": str(tmp_path / "o.mp4")}
    options |= dict(zip(extra[::2], extra[1::2], strict=True))
    message = run_failing(["generate", *(part for pair in options.items() for part in pair)], capsys)
    assert words in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_speech(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wave.open(str(tmp_path / "nothing.wav"), "wb") as empty:
        empty.setparams((1, 2, 16000, 0, "NONE", ""))
    broken = np.zeros((1, 8000), np.float32)
    broken[0, 4000] = np.nan
    write_wav(tmp_path / "nan.wav", broken, codec="pcm_f32le")
    write_video_with_gap(tmp_path / "mute.mp4", Fraction(25), range(0), 10)
    (tmp_path / "half.mp4").write_bytes(talking.read_bytes()[: talking.stat().st_size // 2])
    broken[0, 4000] = 1e30
    write_wav(tmp_path / "huge.wav", broken)
    before = sorted(tmp_path.iterdir())
    for name, words in [
        ("huge.wav", "huge.wav: expected sound with a full scale of 1"),
        ("nothing.wav", "no length"),
        ("nan.wav", "NaN"),
        ("mute.mp4", "sound"),
        ("half.mp4", "half.mp4"),
    ]:
        message = run_failing(
            ["generate", "--face", str(FACE), "--audio", str(tmp_path / name), "--out", str(tmp_path / "o.mp4")], capsys
        )
        assert words in message
        assert message.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before


def test_existing_output_is_kept(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.mp4"
    out.write_bytes(b"precious")
    message = run_failing(["generate", "--face", str(FACE), "--audio", str(SPEECH), "--out", str(out)], capsys)
    assert "--force" in message
    assert out.read_bytes() == b"precious"
    message_same = run_failing(
        ["generate", "--face", str(talking), "--audio", str(SPEECH), "--out", str(talking), "--force"], capsys
    )
    assert "input" in message_same
    assert len(read_times_s(talking)) > 100


def test_wrong_usage_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["generate", "--face", str(FACE)])
    assert stopped.value.code == 2


def test_an_error_is_one_line_on_stderr(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from cals.cli import main; main()", "generate", "--face", str(FACE)]
    command += ["--audio", str(FACE), "--out", str(tmp_path / "o.mp4")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


def test_force_never_reaches_the_inputs(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "p.png"
    cv2.imwrite(str(photo), cv2.imread(str(FACE)))
    before = photo.read_bytes()
    message = run_failing(["track", str(photo), "--out", str(tmp_path / "p.json"), "--force"], capsys)
    assert "of its own" in message
    arguments = ["generate", "--face", str(photo), "--audio", str(SPEECH), "--out", str(tmp_path / "o.mp4"), "--force"]
    run_failing([*arguments, "--report", str(photo)], capsys)
    run_failing([*arguments, "--report", str(tmp_path / "o.mp4")], capsys)
    assert photo.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_a_landscape_has_no_face(tmp_path: Path, shipped: LipSync) -> None:
    write_video_with_gap(tmp_path / "grey.mp4", Fraction(25), range(20), 20)
    with pytest.raises(NoFaceError, match="found none in any frame"):
        shipped.generate(tmp_path / "grey.mp4", SPEECH, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["grey.mp4"]


def test_a_person_who_is_not_there(tmp_path: Path, shipped: LipSync) -> None:
    with pytest.raises(NoFaceError, match="expected the person '3', found at most 1 face"):
        shipped.generate(FACE, SPEECH, tmp_path / "o.mp4", person="3")


def test_missing_files_are_media_errors_in_python_too(tmp_path: Path, shipped: LipSync) -> None:
    with pytest.raises(MediaError, match="nowhere"):
        next(shipped.frames(tmp_path / "nowhere.mp4", SPEECH))
    with pytest.raises(MediaError, match="nowhere"):
        next(shipped.frames(FACE, tmp_path / "nowhere.wav"))


def test_a_folder_named_like_a_model_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "debug").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("debug").name == "debug"
    with pytest.raises(CheckpointError, match="expected a checkpoint"):
        load_model("./debug")


def test_a_moment_after_the_end_is_refused(talking: Path, tmp_path: Path, shipped: LipSync) -> None:
    with pytest.raises(ConfigError, match=r"expected a time within .* \(6.72 s\), found 99 s"):
        shipped.generate(talking, SPEECH, tmp_path / "o.mp4", person="220,150@99")


def test_a_report_that_is_a_folder_stops_the_job_before_it_starts(tmp_path: Path, shipped: LipSync) -> None:
    (tmp_path / "r").mkdir()
    with pytest.raises(MediaError, match="found a directory"):
        shipped.generate(FACE, SPEECH, tmp_path / "o.mp4", report=tmp_path / "r", force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
