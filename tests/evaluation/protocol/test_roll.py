"""`cals evaluate --drive rolled` from end to end: who shows the mouth that is meant is perfect."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_protocol_page import Reader
from test_protocol_scores import FRAMES, record

from cals.cli import main
from cals.evaluation.drives import RealClip
from cals.evaluation.protocol import roll
from cals.evaluation.protocol.pairs import PAIRS
from cals.evaluation.protocol.roll import find_bilabials
from cals.evaluation.protocol.roll_scores import find_target_frames, score_roll
from cals.evaluation.protocol.strips import COLUMNS, SIDE_PX
from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from drawing import write_video

pytestmark = pytest.mark.slow

Report = dict[str, Any]
HALF = 24


class Listener:
    """Hears a bilabial in the frames that it is told."""

    name = "listener"
    frames = (2, 30)

    def find(self, wav: np.ndarray) -> list[tuple[str, float, float]]:
        assert len(wav) == 48 * 640
        return [("B", frame / 25, (frame + 1) / 25) for frame in self.frames] + [("AA", 0.4, 0.5)]


def run(folder: Path, out: Path, *more: str) -> Report:
    main(["evaluate", str(folder), "--drive", "rolled", "--out", str(out), "--no-copy", "--shown", "1", *more])
    result: Report = json.loads((out / "report.json").read_text())
    return result


@pytest.fixture(scope="module")
def folder(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips without sub-folders."""
    root = tmp_path_factory.mktemp("wild")
    shutil.copy(raw / "anna" / "one.mp4", root / "a.mp4")
    shutil.copy(raw / "bert" / "one.mp4", root / "b.mp4")
    return root


@pytest.fixture(scope="module")
def others(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Videos of someone who knows the mouths that are meant, and of someone who leaves the clips as they are."""
    truth = tmp_path_factory.mktemp("truth")
    for name in ("a", "b"):
        with VideoReader(folder / f"{name}.mp4") as reader:
            frames = [frame.rgb() for frame in reader]
        frames = frames[-HALF:] + frames[:-HALF]
        write_video(truth / f"{name}.mp4", frames=frames, size=(320, 320), options={"crf": "8"})
    return truth, folder


@pytest.fixture(scope="module")
def results_folder(folder: Path, others: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("results_folder") / "out"
    (out.parent / "offsets.json").write_text('{"b": 2}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roll, "load_recogniser", Listener)
        more = ("--generated", f"truth={others[0]}", "--generated", f"same={others[1]}", "--model", "debug")
        run(folder, out, "--offsets", str(out.parent / "offsets.json"), *more)
        yield out


@pytest.fixture(scope="module")
def report(results_folder: Path) -> Report:
    result: Report = json.loads((results_folder / "report.json").read_text())
    return result


def test_who_shows_what_is_meant_is_perfect(report: Report) -> None:
    assert [(pair["id"], pair["kind"]) for pair in report["pairs"]] == [("a", "rolled"), ("b", "rolled")]
    for pair in report["pairs"]:
        result = pair["scores"]["truth"]
        assert result["opening"] > 0.99
        assert result["width"] > 0.9
        assert result["leak"] == pytest.approx(0, abs=0.05)
        assert [result[name] for name in ("span", "sharpness", "flicker")] == pytest.approx([1, 1, 1], abs=0.1)
        assert result["jitter"] == pytest.approx(1, abs=0.25)
        assert "compute" not in result or result["compute"] is None


def test_who_changes_nothing_leaks(report: Report) -> None:
    for pair in report["pairs"]:
        result = pair["scores"]["same"]
        assert result["opening"] < 0.8
        assert result["leak"] == pytest.approx(1 - result["opening"], abs=0.05)
        assert result["flicker"] == pytest.approx(1, abs=0.1)


def test_a_model_is_timed_and_closures_stand_beside_the_real_ones(report: Report) -> None:
    for pair in report["pairs"]:
        scores = pair["scores"]
        assert scores["debug"]["compute"] > 0
        assert scores["real"].keys() == {"identity", "closures"}
        assert scores["truth"]["closures"] == scores["real"]["closures"]
    table = report["means"][0]
    assert (table["kind"], table["judged"], table["failed"]) == ("rolled", 2, {"debug": 0, "truth": 0, "same": 0})


def test_sounds_are_brought_in_step_then_rolled(folder: Path, results_folder: Path, report: Report) -> None:
    offsets = {pair["id"]: pair["offset"] for pair in report["pairs"]}
    assert offsets["a"]["late_frames"] == 0
    assert "too short" in offsets["a"]["why"]
    assert offsets["b"] == {"late_frames": 2.0, "why": "told"}
    wav = load_mono(folder / "b.mp4", 16_000)
    later = np.concatenate([np.zeros(2 * 640), wav])[: 48 * 640]
    assert load_mono(results_folder / "sounds" / "b.wav") == pytest.approx(np.roll(later, HALF * 640), abs=1e-4)


def test_the_sheet_and_the_page(results_folder: Path, report: Report) -> None:
    names = sorted(path.name for path in results_folder.iterdir())
    assert names == ["clips", "index.html", PAIRS, "records", "report.json", "report.md", "sheet.png", "sounds"]
    rows = 2 * (2 + 3)  # of each clip: real, meant, and three methods
    sheet = cv2.imread(str(results_folder / "sheet.png"))
    assert sheet.shape == (rows * (SIDE_PX + 4) + 4, COLUMNS * (SIDE_PX + 4) + 4, 3)
    real, meant, generated = (
        sheet[4 + row * 164 : 164 + row * 164].astype(int) for row in (0, 1, 3)
    )  # debug, then truth
    assert np.abs(generated - meant).mean() < np.abs(real - meant).mean()
    page = (results_folder / "index.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert "sheet.png" in reader.addresses
    assert "By how much each sound was delayed" in page
    assert "listener" in page
    assert "| b    | 2 " in (results_folder / "report.md").read_text()


def test_started_again_it_measures_nothing_anew(folder: Path, others: tuple[Path, Path], results_folder: Path) -> None:
    places = [*(results_folder / "records").rglob("*.npz"), *(results_folder / "sounds").iterdir()]
    before = {path: path.stat().st_mtime_ns for path in places}
    text = (results_folder / "report.json").read_text()
    more = ("--generated", f"truth={others[0]}", "--generated", f"same={others[1]}", "--model", "debug", "--force")
    run(folder, results_folder, "--offsets", str(results_folder.parent / "offsets.json"), *more)
    assert {path: path.stat().st_mtime_ns for path in places} == before
    assert (results_folder / "report.json").read_text() == text


def test_the_list_is_for_other_systems(
    folder: Path,
    others: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(roll, "load_recogniser", lambda: None)
    main(["evaluate", str(folder), "--drive", "rolled", "--out", str(tmp_path), "--list-only", "--clips", "1"])
    pairs = json.loads((tmp_path / PAIRS).read_text())["pairs"]
    assert len(pairs) == 1
    assert load_mono(tmp_path / pairs[0]["sound"]).shape == (48 * 640,)
    (tmp_path / "o.json").write_text(json.dumps({pairs[0]["face"]: 1}))
    with pytest.raises(SystemExit):
        main(
            [
                "evaluate",
                str(folder),
                "--drive",
                "rolled",
                "--out",
                str(tmp_path),
                "--list-only",
                "--clips",
                "1",
                "--offsets",
                str(tmp_path / "o.json"),
            ]
        )  # other systems may have the sound of before
    assert "delayed by 1 frames, found one by 0" in capsys.readouterr().err
    result = run(folder, tmp_path, "--clips", "1", "--generated", str(others[0]))
    assert "closures" not in result["pairs"][0]["scores"]["real"]
    assert "pocketsphinx, which finds the phones, is not there" in (tmp_path / "index.html").read_text()


def test_bilabials_roll_with_the_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = RealClip.__new__(RealClip)
    object.__setattr__(clip, "starts_s", np.arange(48) / 25)
    object.__setattr__(clip, "end_s", 48 / 25)
    monkeypatch.setattr(RealClip, "load_wav", lambda _: np.zeros(48 * 640, np.float32))
    listener = Listener()
    listener.frames = (2, 23.5, 30)  # type: ignore[assignment]  # the second one is cut in two
    result = np.array(find_bilabials(clip, listener)) * 25  # type: ignore[arg-type]
    assert result.tolist() == pytest.approx(np.array([[6, 7], [26, 27]]))


def test_the_leap_of_the_real_mouth_at_the_seam_is_not_its_motion() -> None:
    time = np.arange(FRAMES) / FRAMES
    meant = np.roll(np.arange(FRAMES), FRAMES // 2)
    values = {
        "opening": 5 + time,
        "width": 9 - time,
        "identity": np.ones(FRAMES),
        "change": np.append(np.full(FRAMES - 1, 2.0), np.nan),
        "own_energy": np.full(FRAMES, 4.0),
        "middle_s": (np.arange(FRAMES) + 0.5) / 25,
        "meant": meant.astype(float),
    }
    lips = np.zeros((FRAMES, 20, 2)) + (np.arange(FRAMES)[:, None, None] - 30) ** 2
    real = replace(record(0), values=values, lips=lips)
    changed = values | {"change": np.full(FRAMES, 3.0), "own_energy": np.full(FRAMES, 2.0)}
    changed["change"][FRAMES // 2 - 1] = 90  # at the seam
    generated = replace(real, values=changed | {"opening": values["opening"][meant]}, lips=0.5 * lips, compute=2.5)
    use = np.ones(FRAMES, bool)
    result = score_roll(generated, real, use, [(0.0, 0.04)])
    own = np.corrcoef(values["opening"], values["opening"][meant])[0, 1]
    expected = {"opening": 1, "span": 1, "leak": 0, "jitter": 0.5, "flicker": 1.5, "sharpness": 0.5, "compute": 2.5}
    assert result == pytest.approx(expected | {"width": np.corrcoef(time, time[meant])[0, 1], "closures": 0})
    assert own < 0
    assert score_roll(real, real, use, [(0.0, 0.04)]) == {"closures": 0}
    assert score_roll(real, real, use, None) == {}
    real.valid[3] = False
    assert np.flatnonzero(find_target_frames(real) < 0).tolist() == [3 + FRAMES // 2]


@pytest.mark.parametrize(
    "more",
    [
        ("--offsets", "o.json", "--model", "debug"),
        ("--drive", "rolled", "--pairs", "self.json", "--model", "debug"),
        ("--drive", "rolled", "--offsets", "nowhere.json", "--model", "debug"),
    ],
)
def test_options_that_do_not_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: tuple[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pair = {"id": "x", "part": "all", "kind": "self", "face": "a", "heard": "a", "video": "a.mp4"}
    (tmp_path / "self.json").write_text(json.dumps({"seconds": 10, "seed": 0, "pairs": [pair]}))
    with pytest.raises(SystemExit):
        main(["evaluate", str(folder), "--out", "out", *more])
    assert "expected" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.json").exists()
