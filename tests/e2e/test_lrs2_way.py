"""A drawn LRS2, whole and broken, through `cals prepare` to a training that its own parts hold out clips from."""

import json
from pathlib import Path

import pytest

from cals.cli import main
from talking_photo import write_talking_clip

pytestmark = pytest.mark.slow

TABLE = "WORD START END ASDSCORE"
TEXTS = {
    "main/61/00001": "Text:  WHEN YOU'RE COOKING\nConf: 4\n",
    "main/61/00002": "Text:  CHIPS\nConf: 4\n",
    "main/61/00003": "Text:  A FACE GOES AWAY\nConf: 4\n",
    "main/62/00001": "Text:  AT HOME\nConf: 3\n",
    "main/63/00001": "no text\n",
    "pretrain/61/00001": f"Text:  GO ON THEN\nConf: 3\n\n{TABLE}\nGO 0.12 0.3 8.4\nON 0.32 0.6 7.1\nTHEN 0.9 1.5 2.0\n",
}
LISTS = {
    "pretrain": "61/00001\n61/00002\n",
    "train": "61/00001\n61/00002\n61/00003\n61/00004\n61/00005\n",
    "val": "62/00001\n",
    "test": "63/00001 NF\n",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lrs2")
    base = root / "mvlrs_v1"
    for seed, name in enumerate(("main/61/00001", "main/62/00001", "main/63/00001", "pretrain/61/00001")):
        write_talking_clip(base / f"{name}.mp4", seed=seed, frames=32)
    write_talking_clip(base / "main/61/00002.mp4", frames=30, silent=True)
    write_talking_clip(base / "main/61/00003.mp4", frames=62, gap=range(30, 34))
    write_talking_clip(base / "main/61/00004.mp4", frames=12)  # and no text
    write_talking_clip(base / "main/64/00001.mp4", frames=30)  # in no list
    (base / "pretrain/61/00002.mp4").write_text("no video")
    for name, text in TEXTS.items():
        (base / f"{name}.txt").write_text(text)
    for name, lines in LISTS.items():
        (root / f"{name}.txt").write_text(lines)
    out = root / "out"
    main(["prepare", "lrs2", str(root), "--out", str(out), "--workers", "1", "--min-correlation", "-1"])
    return out


def test_texts_and_words_are_kept(prepared: Path) -> None:
    lines = [json.loads(line) for line in (prepared / "manifest.jsonl").read_text().splitlines()]
    texts = {(line["clip"], line["start_frame"]): (line["text"], line["words"]) for line in lines}
    assert texts == {
        ("main/61/00001", 0): ("when you're cooking", None),
        ("main/61/00003", 0): (None, None),  # whose text is of more than these frames
        ("main/61/00003", 34): (None, None),
        ("main/62/00001", 0): ("at home", None),
        ("main/63/00001", 0): (None, None),
        ("pretrain/61/00001", 0): ("go on", [[0.12, 0.3, "go"], [0.32, 0.6, "on"]]),  # the clip ends within "then"
    }


def test_what_is_broken_is_counted(prepared: Path) -> None:
    assert json.loads((prepared / "summary.json").read_text())["dropped"] == {
        "clips that cannot be read": 1,
        "clips without sound": 1,
        "frames in stretches under 25": 12,
        "frames without a face": 4,
        "listed videos that are absent": 1,
        "transcripts that are missing": 2,
        "transcripts that cannot be read": 1,
        "videos that no list names": 1,
    }


def test_training_holds_out_what_the_lists_do(prepared: Path, tmp_path: Path) -> None:
    splits = prepared / "splits.json"
    assert json.loads(splits.read_text()) == {
        "train": ["main/61/00001", "main/61/00003", "pretrain/61/00001"],
        "val_seen": ["main/62/00001"],
        "test": ["main/63/00001"],
    }
    arguments = ["train", "sync", "sync-debug", "--corpus", str(prepared), "--splits", str(splits)]
    main([*arguments, "--run", str(tmp_path / "run"), "--max-minutes", "0.01"])
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[0]["held_out"] == {"seen": 1}
    assert lines[0]["clips"] == 4  # samples
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_splits_that_hold_nothing_out_are_explained(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"train": ["main/61/00001"], "test": ["main/63/00001"]}))
    arguments = ["train", "sync", "sync-debug", "--corpus", str(prepared), "--splits", str(splits)]
    with pytest.raises(SystemExit):
        main([*arguments, "--run", str(tmp_path / "run")])
    assert "expected clips to hold out in val_seen or val_unseen, found train, test; " in capsys.readouterr().err
