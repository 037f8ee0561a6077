"""The systems of Table 3: budgets, and the whole command with one of them."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cals.checkpoint import load_checkpoint
from cals.cli import main
from cals.errors import ConfigError
from cals.evaluation.ablation.order import MEASURES
from cals.evaluation.ablation.table_3 import TABLE_3
from cals.training import budget, systems
from cals.training.presets import A2L, L2F
from cals.training.run import Corpus
from cals.training.systems import SYSTEM_NAMES, SYSTEMS, TABLE_SYSTEMS, SystemsConfig, train_systems
from talking_photo import write_talking_clip

pytestmark = pytest.mark.slow


def test_every_system_has_presets_and_a_published_row() -> None:
    for of_size in SYSTEMS.values():
        assert tuple(of_size) == SYSTEM_NAMES
        assert all(system.l2f in L2F and (system.a2l is None or system.a2l in A2L) for system in of_size.values())
    for rows in TABLE_3.values():
        assert set(rows) == set(TABLE_SYSTEMS) - {"cals-mesh"}
        assert all(tuple(values) == tuple(MEASURES) for values in rows.values())
        assert max(rows, key=lambda row: rows[row]["psnr"]) == "cals"


def test_budgets_and_systems_are_checked() -> None:
    wrong: list[tuple[Mapping[str, object], str]] = [
        ({}, "found both or none"),
        ({"steps_each": 3, "minutes_each": 1.0}, "found both or none"),
        ({"minutes_each": 0.0}, "above 0, found 0"),
        ({"steps_each": 3, "systems": ("cals", "cals")}, "each once"),
        ({"steps_each": 3, "systems": ("wav3lip",)}, "systems: expected some of audio2head"),
    ]
    for given, words in wrong:
        with pytest.raises(ConfigError, match=words):
            SystemsConfig(**given)  # type: ignore[arg-type]


def test_minutes_are_steps_of_each_system(
    corpus: Path, sync_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    trained: list[tuple[str, int, int]] = []

    def pretend(step_s: float):  # type: ignore[no-untyped-def]
        def train(stage, *given):  # type: ignore[no-untyped-def]
            for step in range(stage.train.steps):
                now[0] += step_s
                given[-1](step + 1, stage.train.steps)
            trained.append((type(stage).__name__, stage.train.steps, stage.train.seed))

        return train

    monkeypatch.setattr(systems, "train_l2f_stage", pretend(2.0))
    monkeypatch.setattr(systems, "train_a2l_stage", pretend(5.0))
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    config = SystemsConfig(systems=("wav2lip", "cals"), size="debug", minutes_each=0.5, seed=7)
    source = Corpus(folder=corpus)
    train_systems(config, source, sync_run / "model", tmp_path, accelerator="cpu")
    # 24 steps each time to see how long they take; then a third of the time for Audio-to-Lip.
    assert [(name, steps) for name, steps, _ in trained] == [
        ("UNetStageConfig", 24),
        ("UNetStageConfig", 15),
        ("A2LStageConfig", 24),
        ("A2LStageConfig", 2),
        ("UNetStageConfig", 24),
        ("UNetStageConfig", 10),
    ]
    assert {seed - trained[0][2] for _, _, seed in trained} == {0}
    with pytest.raises(ConfigError, match="expected runs of the same seed, found others"):
        train_systems(
            SystemsConfig(systems=("wav2lip",), size="debug", minutes_each=0.5, seed=8),
            source,
            sync_run / "model",
            tmp_path,
        )


def test_the_command_trains_and_scores(
    corpus: Path, sync_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    write_talking_clip(videos / "a-3.mp4", seed=1, frames=60)
    write_talking_clip(videos / "b-2.mp4", seed=2, frames=60)
    splits = videos / "splits.json"
    splits.write_text(json.dumps({"train": ["a-0", "a-1", "b-0"], "val_seen": ["a-3", "b-2"], "val_unseen": []}))
    arguments = ["compare", str(corpus), "--videos", str(videos), "--splits", str(splits), "--out", str(out)]
    arguments += ["--sync", str(sync_run / "model"), "--judge", str(sync_run / "model"), "--size", "debug"]
    arguments += ["--steps-each", "2", "--accelerator", "cpu", "--parts", "val_seen", "--clips", "1"]
    main([*arguments, "--systems", "cals", "nomemory"])
    assert [load_checkpoint(out / "cals" / part / "model").step for part in ("a2l", "l2f")] == [2, 2]
    told = capsys.readouterr().out
    document = json.loads((out / "compare.json").read_text())
    assert list(document["means"]["val_seen"]) == ["cals", "nomemory"]
    assert {"psnr", "ssim", "lmd", "psnr_lips", "opening", "leak"} <= document["means"]["val_seen"]["cals"].keys()
    assert document["systems"]["cals"].endswith("2 steps of Audio-to-Lip, 2 steps of Lip-to-Face")
    for words in ("| cals ", "paper, HDTF", "33.219"):
        assert words in told
        assert words in (out / "compare.md").read_text()
    assert (out / "rolled" / "sheet.png").is_file()
