"""The masked study hides what it says it hides, and a model that knows what is hidden wins."""

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from study_scenes import A2L as SMALL
from study_scenes import FollowingLips, drawn_sample, lips_of, random_lips, write_corpus

from cals.checkpoint import Checkpoint, save_checkpoint
from cals.cli import main
from cals.errors import CheckpointError, ConfigError
from cals.evaluation.studies.masked import MaskedConfig, MaskedReport, build_spans, measure_masking
from cals.evaluation.studies.masked_sheet import BESIDE, HIDDEN_FRAMES
from cals.evaluation.studies.masking import MaskingMethod, build_methods, load_a2l
from cals.models.a2l import A2L
from cals.models.debug import DebugConfig, DebugLips
from cals.models.factory import to_checkpoint

pytestmark = pytest.mark.slow

CONFIG = MaskedConfig(every=7, lengths=(1, 5), margin=12, measure="mesh")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mouths that move along straight lines, so that what is hidden can be known from what is beside it."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(4):
        line = np.linspace(*rng.permutation([0.2, 1.0]), 37, dtype=np.float32)
        loudness = np.concatenate([np.zeros(10, np.float32), line])  # at rest first
        samples.append(drawn_sample(f"{'ab'[i % 2]}-{i}", loudness, side=0))
    return write_corpus(tmp_path_factory.mktemp("corpus"), samples)


@pytest.fixture(scope="module")
def study_results(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[MaskedReport, Path]:
    out = tmp_path_factory.mktemp("study_results") / "out"
    lips, baseline = lips_of(FollowingLips(0)), lips_of(FollowingLips(0), "other")
    return measure_masking(lips, corpus, out, CONFIG, baseline=baseline), out


def test_only_what_is_lost_is_not_heard() -> None:
    torch.manual_seed(0)
    network = random_lips()
    network.a2l.front.hidden_step.data.normal_()
    mel, other = torch.randn(80, 80) * 10 - 50, torch.randn(80, 80)
    lost = torch.zeros(1, 20, dtype=torch.bool)
    lost[0, 8:12] = True
    changed = mel.clone()
    changed[32:48] += other[32:48]
    outside = mel.clone()
    outside[28:32] += other[28:32]
    with torch.inference_mode():
        result = {way.name: way.predict_masked_units(mel, lost) for way in build_methods(network, None)}
        for way in build_methods(network, None):
            assert torch.equal(way.predict_masked_units(changed, lost), result[way.name]) == (way.name != "full")
            assert not torch.equal(way.predict_masked_units(outside, lost), result[way.name])
        quiet = mel.clone()
        quiet[32:48] = -100.0
        assert torch.equal(result["silenced"], network.predict_units(quiet[None]))
        assert torch.equal(result["full"], network.predict_units(mel[None]))
        assert torch.equal(result["hidden"], network.a2l(mel[None], lost))
        assert not torch.equal(result["hidden"], result["silenced"])


def test_every_span_is_lost_on_its_own() -> None:
    network = random_lips()
    mel = torch.randn(160, 80) * 10 - 50
    lost = build_spans(list(range(5, 35)), 3)
    assert lost[0] == range(4, 7)
    way = MaskingMethod("hidden", network, "hidden")
    together = way.predict_span_units(mel, lost)
    assert together.shape == (90, 16)
    for number in (0, 17, 29):
        alone = way.predict_span_units(mel, lost[number : number + 1])
        assert torch.allclose(together[3 * number : 3 * number + 3], alone, atol=1e-5)


def test_who_knows_what_is_hidden_wins(study_results: tuple[MaskedReport, Path]) -> None:
    report, _ = study_results
    for length in (1, 5):
        opening, lmd = (report.points["all"][length][name] for name in ("opening", "lmd"))
        assert opening["full"].value == opening["baseline full"].value > 0.99
        assert opening["hidden"].value > 0.99
        assert opening["silenced"].value == opening["baseline silenced"].value == 0  # a shut mouth does not move
        assert opening["hidden - silenced"].value > 0.99
        assert lmd["hidden"].value == pytest.approx(lmd["full"].value, abs=0.05)
        assert lmd["hidden - baseline silenced"].value < -0.3


def test_it_is_all_in_the_files(study_results: tuple[MaskedReport, Path]) -> None:
    report, out = study_results
    assert sorted(p.name for p in out.iterdir()) == ["masked.json", "masked.md", "masked.png", "sheet.png"]
    document = json.loads((out / "masked.json").read_text())
    assert document["settings"]["baseline"].startswith("other (")
    clip = document["clips"][0]
    assert clip["moments"] == [14, 21, 28]
    assert len(clip["series"]["hidden 5"]["lmd"]) == 5 * len(clip["series"]["full 1"]["lmd"]) == 15
    assert report.format_summary() in (out / "masked.md").read_text()
    columns = HIDDEN_FRAMES + 2 * BESIDE
    rows = 2 * (1 + 4)  # of two speakers: real, hidden, silenced, full, baseline
    sheet = cv2.imread(str(out / "sheet.png"))
    assert sheet.shape == (rows * 132 + 2 * 4, columns * 132 + 4, 3)
    red = (abs(sheet.astype(int) - (40, 40, 220)).sum(axis=2) < 10).sum()
    assert red == rows * HIDDEN_FRAMES * 4 * 128


def test_audio_to_lip_can_be_that_of_its_own_training(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network, earlier = random_lips(), A2L(SMALL)
    earlier.front.hidden_step.data.normal_()
    save_checkpoint(tmp_path / "a2l", Checkpoint(kind="a2l", config=asdict(SMALL), weights=dict(earlier.state_dict())))
    assert len(load_a2l(network, tmp_path / "a2l")) == 12
    assert torch.equal(network.a2l.front.hidden_step, earlier.front.hidden_step)
    save_checkpoint(tmp_path / "lips", to_checkpoint(network))
    with pytest.raises(CheckpointError, match="found a 'mesh'"):
        load_a2l(network, tmp_path / "lips")


def test_the_command_draws_and_goes_on(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(tmp_path / "lips", to_checkpoint(random_lips()))
    out, sizes = tmp_path / "out", ["--lengths", "1", "--every", "30", "--clips", "2"]
    main(["masked", str(tmp_path / "lips"), str(corpus), "--out", str(out), "--measure", "mesh", *sizes])
    stdout = capsys.readouterr().out
    assert "| part | frames | hidden | silenced | full | hidden - silenced |" in stdout
    assert "2 of 2 clips judged" in stdout
    with pytest.raises(SystemExit):
        main(["masked", "debug", str(corpus), "--out", str(tmp_path / "debug")])
    assert "expected one with an Audio-to-Lip" in capsys.readouterr().err
    assert not (tmp_path / "debug").exists()


def test_wrong_input_is_refused(corpus: Path, tmp_path: Path) -> None:
    lips = lips_of(FollowingLips(0))
    for wrong in ({"lengths": ()}, {"lengths": (3, 1)}, {"lengths": (0,)}, {"margin": -1}, {"every": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            MaskedConfig(**wrong)  # type: ignore[arg-type]
    other = DebugLips(DebugConfig(crop_px=64))
    with pytest.raises(ConfigError, match="expected crops of 128 px"):
        measure_masking(lips, corpus, tmp_path / "out", CONFIG, baseline=lips_of(other))
    assert not (tmp_path / "out").exists()
