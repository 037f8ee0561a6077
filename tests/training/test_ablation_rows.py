"""The rows of Table 1: their configs, shared data, and the whole command, interrupted and resumed."""

import dataclasses
import json
import shutil
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.cli import main
from cals.errors import ConfigError
from cals.evaluation.ablation import order
from cals.evaluation.ablation import rows as judging
from cals.training import ablation as rows_module
from cals.training import budget
from cals.training import run as run_module
from cals.training.ablation import DECODERS, ROWS, TABLE_1, AblationConfig, build_stage_config, train_rows
from cals.training.run import Corpus
from cals.training.stages.l2f_unet import UNetStage, UNetStageConfig
from evaluation.conftest import talking

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build speaking faces under the names of two held-out clips."""
    root = tmp_path_factory.mktemp("videos")
    talking(root / "a-3.mp4", seed=1)
    talking(root / "b-2.mp4", seed=2, gap=range(3))
    (root / "splits.json").write_text(
        json.dumps({"train": ["a-0", "a-1", "a-2", "b-0", "b-1"], "val_seen": ["a-3"], "val_unseen": ["b-2"]})
    )
    return root


def test_rows_are_table_1_and_what_they_leave_out() -> None:
    assert tuple(order.TABLE_1) == TABLE_1
    for decoder in DECODERS:
        for name, row in ROWS.items():
            config = build_stage_config(row, decoder, 7)
            assert config.train.steps == 7
            weights = config.perceptual.d_av, config.perceptual.d_vv
            assert weights == (0.2 * row.d_av, 0.2 * row.d_vv), (decoder, name)
            assert row.a2l or (isinstance(config, UNetStageConfig) and config.window is not None)
    changed = build_stage_config(ROWS["window"], "unet"), build_stage_config(ROWS["a2l"], "unet")
    different = {
        f.name for f in dataclasses.fields(changed[0]) if getattr(changed[0], f.name) != getattr(changed[1], f.name)
    }
    assert different == {"window"}  # one thing, so that Audio-to-Lip can be told from the sync loss


def test_budgets_and_rows_are_checked() -> None:
    for wrong, words in (
        ({}, "found both or none"),
        ({"steps_each": 3, "minutes_each": 1.0}, "found both or none"),
        ({"steps_each": -3}, "above 0, found -3"),
        ({"steps_each": 3, "rows": ("a2l", "a2l")}, "each once"),
        ({"steps_each": 3, "rows": ("a3l",)}, "rows: expected some of wav2lip"),
    ):
        with pytest.raises(ConfigError, match=words):
            AblationConfig(**wrong)  # type: ignore[arg-type]


def test_all_rows_see_the_same_batches(
    corpus: Path, sync_run: Path, a2l_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[UNetStage] = []
    monkeypatch.setattr(run_module, "train", lambda stage, *_: stages.append(stage))
    for name in TABLE_1:
        torch.manual_seed(0)
        config, source = build_stage_config(ROWS[name], "debug"), Corpus(folder=corpus, splits=corpus / "splits.json")
        options = run_module.RunOptions(run=tmp_path / name)
        run_module.train_l2f_stage(config, source, sync_run / "model", a2l_run / "model", options)
    shown: list[dict[str, torch.Tensor]] = []
    for stage in stages:
        stage.model.register_forward_pre_hook(
            lambda _, given: shown.append(dict(zip(("mel", "frames", "reference", "real"), given, strict=True)))
        )
        stage.compute_losses(stage.model, np.random.default_rng(5), torch.device("cpu"))
    for batch in shown[1:]:
        for part, value in batch.items():
            assert torch.equal(value, shown[0][part]), part
    weights = [dict(stage.model.decoder.named_parameters()) for stage in stages[1:]]
    assert all(torch.equal(own[key], weights[0][key]) for own in weights for key in own)  # they begin alike, too


def test_minutes_are_steps_of_the_dearest_row(
    corpus: Path, sync_run: Path, a2l_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[tuple[float, float]] = []

    def pretend(config: UNetStageConfig, *given: object) -> None:
        timed.append((config.perceptual.d_av, config.perceptual.d_vv))
        for step in range(config.train.steps):
            given[-1](step + 1, config.train.steps)  # type: ignore[operator]

    now = iter(0.5 * n for n in range(100))
    monkeypatch.setattr(rows_module, "train_l2f_stage", pretend)
    monkeypatch.setattr(budget.time, "monotonic", lambda: next(now))
    config = AblationConfig(decoder="debug", minutes_each=2.0)
    parents = (Corpus(folder=corpus), sync_run / "model", a2l_run / "model")
    assert rows_module._load_or_plan_steps(config, *parents, tmp_path / "out", "cpu") == 240
    assert timed == [(0.2, 0.2)]
    assert rows_module._load_or_plan_steps(config, *parents, tmp_path / "out", "cpu") == 240
    assert len(timed) == 1  # what is planned stays
    other = dataclasses.replace(config, minutes_each=3.0)
    with pytest.raises(ConfigError, match="expected runs of the same minutes_each, found others"):
        rows_module._load_or_plan_steps(other, *parents, tmp_path / "out", "cpu")


@dataclass(frozen=True, kw_only=True)
class AblationRun:
    """The command's run after it was interrupted in the second row and started again."""

    out: Path
    arguments: list[str]
    printed: str
    first_row_sha256: str
    """Weights of the first row before the interruption."""


@pytest.fixture(scope="module")
def ablation(
    corpus: Path, videos: Path, sync_run: Path, a2l_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> AblationRun:
    out = tmp_path_factory.mktemp("ablation") / "out"
    source = Corpus(folder=corpus, splits=videos / "splits.json")
    parents = sync_run / "model", a2l_run / "model"

    def stop(done: int, total: int | None) -> None:
        if done == 5:  # in the second row
            raise KeyboardInterrupt

    config = AblationConfig(decoder="debug", steps_each=3)
    with pytest.raises(KeyboardInterrupt):
        train_rows(config, source, *parents, out, accelerator="cpu", progress=stop)
    first = compute_weights_sha256(out / "wav2lip" / "model")
    arguments = ["ablation", "--corpus", str(corpus), "--videos", str(videos), "--splits", str(videos / "splits.json")]
    arguments += ["--sync", str(parents[0]), "--a2l", str(parents[1]), "--decoder", "debug"]
    arguments += ["--steps-each", "3", "--accelerator", "cpu"]
    with redirect_stdout(StringIO()) as printed:
        main([*arguments, "--out", str(out)])
    return AblationRun(out=out, arguments=arguments, printed=printed.getvalue(), first_row_sha256=first)


def test_the_command_goes_on_and_trains_every_row(ablation: AblationRun) -> None:
    assert compute_weights_sha256(ablation.out / "wav2lip" / "model") == ablation.first_row_sha256
    checkpoints = [load_checkpoint(ablation.out / row / "model") for row in TABLE_1]
    assert [checkpoint.step for checkpoint in checkpoints] == [3] * 4
    assert [checkpoint.kind for checkpoint in checkpoints] == ["wav2lip", "unet", "unet", "unet"]


def test_the_report_has_every_row_and_part(ablation: AblationRun) -> None:
    document = json.loads((ablation.out / "report.json").read_text())
    assert list(document["means"]) == ["val_seen", "val_unseen"]
    for rows in document["means"].values():
        assert list(rows) == ["real", *TABLE_1]
        assert all({"psnr", "ssim", "lmd", "lse_d", "lse_c"} <= values.keys() for values in rows.values())
        assert (rows["real"]["psnr"], rows["real"]["lmd"]) == (100, 0)
        assert all(rows[row]["psnr"] < 60 for row in TABLE_1)
    assert [clip["used"] >= 40 - 7 for clip in document["clips"]] == [True, True]
    assert document["clips"][1]["used"] <= 48 - 3
    assert document["rows"]["wav2lip"] == "0.2 s of sound a frame; L1 + GAN + d_av; 3 steps"
    assert document["rows"]["a2l+d_av+d_vv"] == "Audio-to-Lip; L1 + GAN + d_av + d_vv; 3 steps"
    for words in ("| val_unseen | a2l+d_av+d_vv |", "Published, best first:", "2 of 2 clips judged", "31.182"):
        assert words in ablation.printed
        assert words in (ablation.out / "report.md").read_text()
    sheet = cv2.imread(str(ablation.out / "strips-val_seen.png"))
    assert sheet.shape == (5 * 132 + 4, 10 * 132 + 4, 3)


def test_only_what_changed_is_scored_again(
    ablation: AblationRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, then the clip whose strip is gone, then a clip of another model."""
    out = tmp_path / "out"
    shutil.copytree(ablation.out, out)
    arguments = [*ablation.arguments, "--out", str(out)]
    document = json.loads((out / "report.json").read_text())
    scored: list[str] = []
    score_clip = judging._score_clip

    def record(source, *given):  # type: ignore[no-untyped-def]
        scored.append(source.name)
        return score_clip(source, *given)

    monkeypatch.setattr(judging, "_score_clip", record)
    main(arguments)
    assert scored == []
    assert json.loads((out / "report.json").read_text()) == document
    (out / "strips-val_unseen.png").unlink()
    main(arguments)
    assert scored == ["b-2"]
    assert (out / "strips-val_unseen.png").is_file()
    shutil.copytree(out / "a2l" / "model", out / "wav2lip" / "model", dirs_exist_ok=True)
    main([*arguments, "--parts", "val_seen"])
    assert scored == ["b-2", "a-3"]
