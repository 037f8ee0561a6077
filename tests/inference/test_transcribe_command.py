"""`cals transcribe`, and models that cannot be used."""

import dataclasses
import json
from pathlib import Path

import cv2
import pytest
from photo_clip import PHOTO

from cals import Transcriber
from cals.checkpoint import Checkpoint, save_checkpoint
from cals.cli import main
from cals.errors import CheckpointError, ConfigError, MediaError
from cals.metrics.wer import word_error_rate
from cals.models.avsr.beam import BeamConfig
from cals.models.sync import SyncConfig, SyncModel
from recognizer import save_recognizer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_the_recogniser_that_ships_reads_a_stranger() -> None:
    transcript = Transcriber("avsr-grid-small").transcribe(ROOT / "examples" / "grid-s20.mp4")
    assert word_error_rate([("bin red by k seven now", transcript.text)]).rate.value <= 3 / 6
    assert set(transcript.scores) == {"audio", "video"}
    expected = "or one of avsr-grid-small, found 'avsr-grid-smal'; did you mean 'avsr-grid-small'"
    with pytest.raises(CheckpointError, match=expected):
        Transcriber("avsr-grid-smal")


def test_errors_of_the_model(tmp_path: Path, recognizer_folder: Path) -> None:
    for folder in (tmp_path, "."):
        with pytest.raises(CheckpointError, match="expected a checkpoint folder"):
            Transcriber(folder)
    sync = SyncModel(SyncConfig())
    other = dataclasses.asdict(SyncConfig())
    save_checkpoint(tmp_path / "sync", Checkpoint(kind="sync", config=other, weights=dict(sync.state_dict())))
    with pytest.raises(CheckpointError, match="expected a recogniser, found a 'sync' model"):
        Transcriber(tmp_path / "sync")
    with pytest.raises(ConfigError, match="device: expected"):
        Transcriber(recognizer_folder, device="nowhere")
    with pytest.raises(MediaError, match="found nothing there"):
        Transcriber(recognizer_folder).transcribe(tmp_path / "absent.mp4")


class TestCommand:
    def test_text_goes_to_stdout_and_files_appear_whole(
        self, recognizer_folder: Path, photo_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plot, out = tmp_path / "plot.png", tmp_path / "words.json"
        arguments = ["transcribe", str(photo_clip), "--model", str(recognizer_folder), "--beam", "1"]
        main([*arguments, "--audio-only"])
        printed = capsys.readouterr()
        assert printed.out == Transcriber(recognizer_folder).transcribe(
            photo_clip, streams="audio", beam=BeamConfig(beam=1)
        ).render("text")
        main([*arguments, "--video-only", "--format", "json", "--out", str(out), "--scores", str(plot)])
        assert json.loads(out.read_text())["streams"] == "video"
        assert cv2.imread(str(plot)) is not None
        assert capsys.readouterr().out.startswith(f"{out}: ")
        main([*arguments, "--audio-only", "--format", "vtt"])
        assert capsys.readouterr().out.startswith("WEBVTT\n")
        for option, path in (("--out", out), ("--scores", plot)):
            with pytest.raises(SystemExit):
                main([*arguments, option, str(path)])
            assert "--force" in capsys.readouterr().err
        main([*arguments, "--audio-only", "--format", "srt", "--out", str(out), "--force"])
        assert not out.read_text().startswith("{")
        main([*arguments, "--audio-only", "--out", str(tmp_path / "words.vtt")])
        assert (tmp_path / "words.vtt").read_text().startswith("WEBVTT")

    def test_nothing_half_written_stays(
        self, recognizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = [f"--{name}" for name in ("out", "scores")]
        files = [tmp_path / "a.txt", tmp_path / "a.png"]
        options = [item for pair in zip(names, map(str, files), strict=True) for item in pair]
        with pytest.raises(SystemExit):
            main(["transcribe", str(PHOTO), "--model", str(recognizer_folder), *options])
        assert "expected sound or moving pictures" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--audio-only", "--video-only"], "for both streams give neither"),
            (["--scores", "a.jpg"], "ending in .png"),
            (["--beam", "0"], "expected a beam of 1 or more"),
        ],
    )
    def test_wrong_options(
        self,
        options: list[str],
        message: str,
        recognizer_folder: Path,
        photo_clip: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with pytest.raises(SystemExit):
            main(["transcribe", str(photo_clip), "--model", str(recognizer_folder), *options])
        assert message in " ".join(capsys.readouterr().err.split())

    def test_scores_need_a_recogniser_that_scores(
        self, photo_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = save_recognizer(tmp_path / "plain", scoring=False)
        plot = tmp_path / "plot.png"
        with pytest.raises(SystemExit):
            main(["transcribe", str(photo_clip), "--model", str(model), "--scores", str(plot)])
        assert "found one without scores; leave --scores out" in capsys.readouterr().err
        assert not plot.exists()
