"""The quick evaluation from end to end: the random model through the command line, and models that cheat."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cals import LipSync
from cals.checkpoint import Checkpoint, save_checkpoint
from cals.cli import main
from cals.errors import CheckpointError, ConfigError, DataError
from cals.evaluation.quick import SHEET_FRAMES, QuickConfig, evaluate_quick
from cals.face.detector import BlazeFaceMesh
from cals.face.tracker import FaceTracker
from cals.inference.frame_tracker import track_and_align
from cals.inference.stream import GENERATED, FaceStatus, LipFrame
from cals.media.reader import VideoReader
from cals.models.sync import SyncConfig, SyncModel

pytestmark = pytest.mark.slow


def evaluate(raw: Path, out: Path, *more: str) -> None:
    splits = ["--splits", str(raw / "splits.json")]
    main(["evaluate", "quick", str(raw), *splits, "--model", "debug", "--out", str(out), *more])


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sync encoders that know nothing."""
    torch.manual_seed(0)
    config = SyncConfig(width=4, embedding=16)
    folder = tmp_path_factory.mktemp("sync") / "model"
    weights = SyncModel(config).state_dict()
    save_checkpoint(folder, Checkpoint(kind="sync", config=asdict(config), weights=weights))
    return folder


@pytest.fixture(scope="session")
def results_folder(raw: Path, encoders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "of debug"
    evaluate(raw, out, "--sync", str(encoders))
    return out


def test_all_is_written_and_counted(results_folder: Path) -> None:
    assert sorted(path.name for path in results_folder.iterdir()) == ["quick.json", "quick.md", "sheet.png"]
    document = json.loads((results_folder / "quick.json").read_text())
    assert document["settings"]["model"].startswith("debug (")
    clips = {clip["clip"]: clip for clip in document["clips"]}
    assert {name: (clip["part"], clip["heard"], clip["frames"]) for name, clip in clips.items()} == {
        "anna/one": ("val_seen", "anna/two", 48),
        "anna/two": ("val_seen", "anna/one", 48),
        "bert/one": ("val_unseen", "bert/one", 48),
        "carl/gone": ("val_unseen", "carl/gone", 48),
    }
    assert clips["bert/one"]["used"] >= 40
    # no face in 3 frames, and generation fades in over the next 4; in the other clip these mouths are only heard
    assert 30 <= clips["anna/two"]["used"] <= 48 - 3 - 4
    assert 30 <= clips["anna/one"]["used"] <= 48 - 3
    assert clips["carl/gone"]["used"] == 0
    assert clips["carl/gone"]["scores"] == {}
    seen, unseen = document["means"]["val_seen"], document["means"]["val_unseen"]
    assert list(seen) == ["real", "self", "cross", "shuffled", "copy"]
    assert [methods["self"]["clips"] for methods in (seen, unseen)] == [2, 1]
    openings = [clips[name]["scores"]["self"]["opening"] for name in ("anna/one", "anna/two")]
    assert seen["self"]["opening"] == pytest.approx(np.mean(openings), abs=1e-4)
    assert seen["copy"]["psnr_lips"] > seen["self"]["psnr_lips"]  # noise is worse than another frame's mouth
    assert set(seen["real"]) == {"clips", "found", "windows_found"}


def test_the_report_has_tables_targets_and_what_was_left_out(results_folder: Path) -> None:
    text = (results_folder / "quick.md").read_text()
    for line in ("| val_seen   | shuffled | 2 ", "| opening correlation, cross-driven | val_unseen | >= 0.7 "):
        assert line in text
    assert "3 of 4 clips judged" in text
    assert "left out: carl/gone" in text


def test_the_sheet_has_four_rows_a_clip(results_folder: Path) -> None:
    sheet = cv2.imread(str(results_folder / "sheet.png"))
    assert sheet.shape == (3 * 4 * 132 + 4, SHEET_FRAMES * 132 + 4, 3)


def test_the_table_is_said_and_nothing_is_overwritten(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (raw, tmp_path / "out", "--parts", "val_seen", "--clips", "1")
    evaluate(*arguments)
    stdout = capsys.readouterr().out
    assert "| val_seen | self     | 1     |" in stdout
    assert "val_unseen" not in stdout
    assert "in step" not in stdout  # nobody asked
    before = (tmp_path / "out" / "quick.json").read_bytes()
    with pytest.raises(SystemExit):
        evaluate(*arguments)
    assert "use --force" in capsys.readouterr().err
    evaluate(*arguments, "--force")
    assert (tmp_path / "out" / "quick.json").read_bytes() == before  # the same again


class Cheat(LipSync):
    """Plays the real frames; where the sound is another one than the clip's, rolled by `shift` frames."""

    detector: BlazeFaceMesh
    shift = 0

    def frames(self, face: str | Path, audio: str | Path, **_: object) -> Iterator[LipFrame]:  # type: ignore[override]
        with VideoReader(face) as reader:
            items = list(track_and_align(reader, FaceTracker(self.detector), 128))
        shift = 0 if Path(audio) == Path(face) else self.shift
        for index, item in enumerate(items):
            shown = items[(index - shift) % len(items)].frame
            frame = shown.with_time(index, item.frame.time_s, item.frame.duration_s)
            yield LipFrame(frame, (FaceStatus(item.face, GENERATED, 1.0),))


@pytest.mark.parametrize(("shift", "cross", "leak"), [(24, 1.0, 0.0), (0, None, None)])
def test_cheats(
    raw: Path, tmp_path: Path, detector: BlazeFaceMesh, shift: int, cross: float | None, leak: float | None
) -> None:
    """Who knows the real frames is perfect; who ignores the other sound is caught by `cross`, `shuffled` and `leak`."""
    (tmp_path / "splits.json").write_text(json.dumps({"only": ["bert/one"]}))
    cheat = Cheat("debug")
    cheat.detector, cheat.shift = detector, shift
    report = evaluate_quick(raw, tmp_path / "splits.json", cheat, tmp_path / "out", QuickConfig(parts=("only",)))
    result = report.means["only"]
    assert result["self"]["opening"] > 0.999
    assert result["self"]["psnr_lips"] == 100
    assert result["self"]["sharpness"] == pytest.approx(1)
    assert result["self"]["lmd"] < 0.05
    assert result["copy"]["opening"] < 0.5
    if cross is not None:
        assert result["cross"]["opening"] == pytest.approx(cross, abs=0.03)
        assert result["cross"]["leak"] == pytest.approx(leak, abs=0.05)
        assert result["shuffled"]["opening"] < 0.7
    else:
        assert result["shuffled"]["opening"] > 0.999
        assert result["cross"]["leak"] == pytest.approx(1 - result["cross"]["opening"], abs=0.02)
        assert result["cross"]["leak"] > 0.3


def test_wrong_input_is_refused_before_any_work(raw: Path, encoders: Path, tmp_path: Path) -> None:
    lips, splits, out = LipSync("debug"), raw / "splits.json", tmp_path / "out"
    with pytest.raises(DataError, match="expected the parts val"):
        evaluate_quick(raw, splits, lips, out, QuickConfig(parts=("val",)))
    with pytest.raises(DataError, match="clips of 'train'"):
        evaluate_quick(raw, splits, lips, out, QuickConfig(parts=("train",)))
    (tmp_path / "other.json").write_text(json.dumps({"val_seen": ["anna/three"]}))
    with pytest.raises(DataError, match="anna/three"):
        evaluate_quick(raw, tmp_path / "other.json", lips, out, QuickConfig(parts=("val_seen",)))
    with pytest.raises(ConfigError, match="clips: expected 1 or more"):
        QuickConfig(clips=0)
    with pytest.raises(CheckpointError, match="expected a checkpoint folder"):
        evaluate_quick(raw, splits, lips, out, QuickConfig(), sync=tmp_path)
    assert not out.exists()


def test_a_corpus_without_faces_leaves_nothing(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(json.dumps({"only": ["carl/gone"]}))
    with pytest.raises(DataError, match="clips with a face"):
        evaluate_quick(raw, tmp_path / "splits.json", LipSync("debug"), tmp_path / "out", QuickConfig(parts=("only",)))
    assert list((tmp_path / "out").iterdir()) == []
