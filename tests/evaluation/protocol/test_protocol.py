"""`cals evaluate` from end to end: the random model beside videos of others, started again, by several processes."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cals.cli import main
from cals.evaluation.protocol.pair_scorer import RECORDS
from cals.evaluation.protocol.pairs import PAIRS
from cals.media.reader import VideoReader
from drawing import write_video

pytestmark = pytest.mark.slow

Report = dict[str, Any]


def run(raw: Path, out: Path, *more: str) -> Report:
    main(["evaluate", str(raw), "--splits", str(raw / "splits.json"), "--out", str(out), *more])
    result: Report = json.loads((out / "report.json").read_text())
    return result


def read_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main(["evaluate", *arguments])
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def pairs_folder(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs and sounds, as other systems are given them."""
    out = tmp_path_factory.mktemp("pairs_folder") / "out"
    main(["evaluate", str(raw), "--splits", str(raw / "splits.json"), "--out", str(out), "--list-only"])
    return out


@pytest.fixture(scope="module")
def others(raw: Path, pairs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Outputs of a system that knows the truth, one broken, most missing; and of one that makes small pictures."""
    root = tmp_path_factory.mktemp("others")
    (root / "truth").mkdir()
    (root / "small").mkdir()
    for pair in json.loads((pairs_folder / PAIRS).read_text())["pairs"]:
        if pair["id"] == "self-anna-two":
            (root / "truth" / "self-anna-two.mp4").write_bytes(b"not a video")
        elif pair["id"] == "self-anna-one":
            with VideoReader(raw / pair["video"]) as reader:
                pictures = [cv2.resize(frame.rgb(), (240, 240), interpolation=cv2.INTER_AREA) for frame in reader]
            write_video(root / "small" / "self-anna-one.mp4", frames=pictures, size=(240, 240), options={"crf": "10"})
            shutil.copy(raw / pair["video"], root / "truth" / "self-anna-one.mp4")
        elif pair["id"] == "self-bert-one":
            shutil.copy(raw / pair["video"], root / "truth" / "self-bert-one.mp4")
    return root / "truth", root / "small"


@pytest.fixture(scope="module")
def results_folder(raw: Path, others: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results_folder") / "out"
    more = [
        part
        for name, place in zip(("truth", "small"), others, strict=True)
        for part in ("--generated", f"{name}={place}")
    ]
    run(raw, out, "--model", "debug", *more)
    return out


@pytest.fixture(scope="module")
def report(results_folder: Path) -> Report:
    result: Report = json.loads((results_folder / "report.json").read_text())
    return result


def of_pair(report: Report, name: str) -> Report:
    return next(pair for pair in report["pairs"] if pair["id"] == name)


def test_the_list_names_what_others_need(raw: Path, pairs_folder: Path) -> None:
    assert sorted(path.name for path in pairs_folder.iterdir()) == [PAIRS, "sounds"]
    pairs = json.loads((pairs_folder / PAIRS).read_text())["pairs"]
    assert [pair["id"] for pair in pairs] == [
        *("self-anna-one", "self-anna-two", "cross-anna-one-by-anna-two", "cross-anna-two-by-anna-one"),
        *("self-bert-one", "self-carl-gone", "cross-bert-one-by-carl-gone", "cross-carl-gone-by-bert-one"),
    ]
    assert all((raw / pair["video"]).is_file() and (pairs_folder / pair["sound"]).is_file() for pair in pairs)


def test_who_knows_the_truth_is_perfect(report: Report) -> None:
    result = of_pair(report, "self-bert-one")["scores"]
    assert result["truth"]["psnr"] == result["truth"]["wrapped_psnr"] == 100  # what equal pictures count as
    assert result["truth"]["ssim"] == result["truth"]["ssim_lips"] == pytest.approx(1)
    assert result["truth"]["opening"] == pytest.approx(1)
    assert result["truth"]["lmd"] == pytest.approx(0, abs=1e-6)
    assert result["truth"]["lse_d"] == pytest.approx(result["real"]["lse_d"])
    assert result["debug"]["psnr_lips"] < result["copy"]["psnr_lips"] < 60
    assert result["debug"]["ssim_lips"] < result["copy"]["ssim_lips"] < 1
    assert result["copy"]["opening"] < 0.5


def test_smaller_pictures_are_aligned_by_themselves(report: Report) -> None:
    pair = of_pair(report, "self-anna-one")
    assert pair["aligned_alone"] == ["small"]
    assert pair["scores"]["small"]["opening"] > 0.9
    assert pair["scores"]["small"]["psnr"] > pair["scores"]["debug"]["psnr_lips"]


def test_failures_are_counted_and_cost_others_nothing(report: Report) -> None:
    failed = report["failed"]
    assert "self-anna-one" not in failed["truth"]
    assert "self-bert-one" not in failed["truth"]
    assert failed["truth"]["cross-anna-one-by-anna-two"] == "no video of this pair"
    assert "self-anna-two.mp4" in failed["truth"]["self-anna-two"]
    assert failed["debug"] == {}
    table = next(t for t in report["means"] if (t["part"], t["kind"]) == ("val_seen", "self"))
    assert table["failed"] == {"debug": 0, "truth": 1, "small": 1, "copy": 0}
    assert [table["methods"][name]["psnr"]["clips"] for name in ("truth", "debug")] == [1, 2]
    gone = of_pair(report, "self-carl-gone")
    assert gone["scores"] == {}
    assert "0 of 48" in gone["left_out"]


def test_frames_without_a_face_are_dropped_for_all(report: Report) -> None:
    pair = of_pair(report, "self-anna-two")
    assert pair["without_face"]["real"] == 3
    assert pair["without_face"]["debug"] >= 7  # it fades in over four more
    assert pair["used"] <= 48 - max(pair["without_face"].values())


def test_means_are_those_of_the_clips(report: Report) -> None:
    table = next(t for t in report["means"] if (t["part"], t["kind"]) == ("val_seen", "self"))
    values = [of_pair(report, name)["scores"]["debug"]["psnr"] for name in ("self-anna-one", "self-anna-two")]
    mean = table["methods"]["debug"]["psnr"]
    assert mean["value"] == pytest.approx(np.mean(values), abs=1e-4)
    assert mean["low"] == pytest.approx(min(values), abs=1e-4)  # of two clips, one is drawn twice often enough
    assert table["frechet"]["debug"]["value"] > table["frechet"]["copy"]["value"]


def test_started_again_it_goes_on(
    raw: Path, results_folder: Path, report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the records gone and one damaged: only those are made, by two processes, and all is as it was."""
    out = tmp_path / "out"
    shutil.copytree(results_folder, out)
    records = out / RECORDS / "debug"
    (records / "self-anna-one.npz").unlink()
    (records / "self-bert-one.npz").write_bytes(b"PK")
    kept = {path: path.stat().st_mtime_ns for path in (out / RECORDS).rglob("*.npz")}
    capsys.readouterr()
    again = ["--splits", str(raw / "splits.json"), "--out", str(out), "--model", "debug", "--workers", "2"]
    assert "use --force" in read_error(capsys, str(raw), *again)
    run(raw, out, "--model", "debug", "--workers", "2", "--force")
    changed = {path.name for path, time in kept.items() if path.stat().st_mtime_ns != time}
    assert changed == {"self-bert-one.npz"}
    assert (records / "self-anna-one.npz").is_file()
    now = json.loads((out / "report.json").read_text())
    same = of_pair(now, "self-bert-one")["scores"]["debug"]
    assert same == pytest.approx(of_pair(report, "self-bert-one")["scores"]["debug"], abs=1e-3)


def test_wrong_input_is_said_before_any_work(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "did you mean 'debug'" in read_error(capsys, str(raw), *out, "--model", "debugg")
    assert "expected a model or a folder" in read_error(capsys, str(raw), *out)
    assert "expected names that differ" in read_error(capsys, str(raw), *out, "--model", "debug", "--model", "debug")
    assert "expected names that differ" in read_error(capsys, str(raw), *out, "--model", "real=debug")
    assert "expected videos of a" in read_error(capsys, str(raw), *out, "--generated", f"a={raw}")
    assert "expected a folder with" in read_error(capsys, str(raw), *out, "--generated", f"a={tmp_path / 'no'}")
    assert "expected a folder of videos" in read_error(capsys, str(tmp_path / "no"), *out, "--model", "debug")
    assert "expected a checkpoint folder" in read_error(
        capsys, str(raw), *out, "--model", "debug", "--sync", str(tmp_path / "no")
    )
    assert "found both" in read_error(
        capsys, str(raw), *out, "--model", "debug", "--pairs", "a.json", "--splits", str(raw / "splits.json")
    )
    assert "expected one corpus" in read_error(capsys, str(raw), str(raw), *out, "--model", "debug")
    assert "one --model and --splits" in read_error(capsys, "quick", str(raw), *out, "--model", "debug")
    assert not (tmp_path / "out").exists()
