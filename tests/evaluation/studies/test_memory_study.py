"""The memory study tells a memory that follows the sound from one that does not, and slots that mean phones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from study_scenes import drawn_sample, write_corpus

from cals.checkpoint import save_checkpoint
from cals.cli import main
from cals.errors import ConfigError, DataError
from cals.evaluation.phones import Phone
from cals.evaluation.studies import memory as study
from cals.evaluation.studies.memory import FILES, NO_PHONES, MemoryStudyConfig, measure_memory
from cals.evaluation.studies.recall import BY_LIPS, BY_SOUND, RIDGE, choose_ridge, fit_ridge
from cals.evaluation.studies.slots import PhoneSegment, cut_phones, find_phones, measure_information, tabulate_slots
from cals.inference.load import LoadedModel
from cals.models.debug import DebugConfig, DebugLips
from cals.models.factory import to_checkpoint
from cals.models.memory import MemoryConfig
from cals.models.synctalk import RecallConfig, SyncTalkFace, SyncTalkFaceConfig
from cals.models.unet import UNetConfig
from cals.models.wav2lip import WindowConfig
from cals.types import F32

FRAMES, SLOTS = 12, 4
DECODER = UNetConfig(unit=8, width=4, widest=8, levels=3, block_px=2)
CONFIG = SyncTalkFaceConfig(
    window=WindowConfig(unit=8, width=2),
    recall=RecallConfig(memory=MemoryConfig(slots=SLOTS, width=8), width=2),
    decoder=DECODER,
)


class Listener:
    """Hears two phones in turn, of three frames each."""

    name = "three frames each"

    def find(self, wav: F32, text: str | None = None) -> list[Phone]:
        assert len(wav) == 640 * FRAMES
        return [("AH" if start % 2 else "M", 0.12 * start, 0.12 * (start + 1)) for start in range(FRAMES // 3)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eight short clips with splits: five to fit to, three to judge."""
    rng = np.random.default_rng(0)
    samples = [drawn_sample(f"a-{i}", rng.uniform(0, 1, FRAMES).astype(np.float32), 0) for i in range(8)]
    (tmp_path / "corpus").mkdir()
    folder = write_corpus(tmp_path / "corpus", samples)
    names = [sample.key for sample in samples]
    splits = {"train": names[:5], "val_seen": names[5:7], "val_unseen": names[7:]}
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder


@pytest.fixture
def network() -> SyncTalkFace:
    torch.manual_seed(0)
    return SyncTalkFace(CONFIG).eval()


def replace_encoders(network: SyncTalkFace, monkeypatch: pytest.MonkeyPatch, follow: bool) -> None:
    """One of the slots' values as every frame's lip feature; with `follow`, the sound addresses the same slot."""
    assert network.memory is not None
    assert network.lips is not None
    slots = torch.arange(FRAMES) // 3 % SLOTS
    with torch.no_grad():
        network.memory.key.copy_(torch.eye(SLOTS, 8))
        network.memory.value.copy_(3 * torch.eye(SLOTS, 8))
    audio = slots if follow else torch.zeros(FRAMES, dtype=torch.int64)
    monkeypatch.setattr(network.window, "forward", lambda mel: torch.eye(SLOTS, 8)[audio][None])
    monkeypatch.setattr(network.lips, "forward", lambda crops: 3 * torch.eye(SLOTS, 8)[slots][None])


def run_study(network: SyncTalkFace, corpus: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> study.MemoryReport:
    monkeypatch.setattr(study, "load_recogniser", Listener)
    return measure_memory(
        LoadedModel("ours", "0" * 12, network), corpus, corpus / "splits.json", out, MemoryStudyConfig()
    )


@pytest.mark.parametrize("follow", [True, False])
def test_recall_and_slots_are_what_they_are_made_to_be(
    follow: bool, network: SyncTalkFace, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_encoders(network, monkeypatch, follow)
    report = run_study(network, corpus, tmp_path / "out", monkeypatch)
    assert list(report.recall) == ["val_seen", "val_unseen", "all"]
    errors, use = report.recall["all"], report.use["all"]
    assert errors[BY_LIPS].value < 1e-6
    assert report.information is not None
    assert report.information.phones == pytest.approx(1)
    assert use.in_all_by_lips == pytest.approx(SLOTS, rel=1e-3)
    if follow:
        assert max(errors[BY_SOUND].value, errors[RIDGE].value) < 1e-6
        assert (use.same, use.in_all) == pytest.approx((1, SLOTS), rel=1e-3)
        assert report.information.found == pytest.approx(1)
        assert report.information.shuffled < 0.9
    else:
        assert errors[BY_SOUND].value > 1.5  # a slot's own value, farther off than the mean
        assert errors[RIDGE].value == pytest.approx(1, abs=1e-3)
        assert (use.same, use.in_all) == pytest.approx((1 / SLOTS, 1), rel=1e-3)
        assert report.information.found == pytest.approx(0, abs=1e-9)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    document = json.loads((tmp_path / "out" / "memory.json").read_text())
    assert document["relative_error"]["all"][BY_SOUND][0] == pytest.approx(errors[BY_SOUND].value, abs=1e-4)
    assert [clip["clip"] for clip in document["clips"]] == ["a-5", "a-6", "a-7"]
    assert report.format_summary() in (tmp_path / "out" / "memory.md").read_text()
    assert min(cv2.imread(str(tmp_path / "out" / "slots.png")).shape[:2]) > 100


def test_the_command_runs_with_and_without_a_recogniser(
    network: SyncTalkFace,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_checkpoint(tmp_path / "model", to_checkpoint(network))
    arguments = ["memory", str(tmp_path / "model"), str(corpus), "--splits", str(corpus / "splits.json")]
    monkeypatch.setattr(study, "load_recogniser", lambda: None)
    main([*arguments, "--out", str(tmp_path / "deaf"), "--parts", "val_unseen"])
    stdout = capsys.readouterr().out
    assert NO_PHONES in stdout
    assert "val_unseen" in stdout
    assert "memory.json, memory.md" in stdout
    assert not (tmp_path / "deaf" / "slots.png").exists()
    monkeypatch.setattr(study, "load_recogniser", Listener)
    main([*arguments, "--out", str(tmp_path / "hearing"), "--fit-clips", "2"])
    assert "bits of its phone" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path / "hearing")])
    assert "--force" in capsys.readouterr().err


def test_wrong_models_and_clips_are_refused(
    network: SyncTalkFace, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, out = corpus / "splits.json", tmp_path / "out"
    with pytest.raises(ConfigError, match="expected a model with an Audio-Lip Memory, found debug, a DebugLips"):
        measure_memory(LoadedModel("debug", "", DebugLips(DebugConfig())), corpus, splits, out, MemoryStudyConfig())
    for wrong in ({"fit_part": "val_seen"}, {"fit_clips": 1}):
        with pytest.raises(ConfigError, match="2 or more clips to fit to, of a part that is not judged"):
            MemoryStudyConfig(**wrong)  # type: ignore[arg-type]
    monkeypatch.setattr(Listener, "find", lambda *_: [])
    with pytest.raises(DataError, match="expected speech, found no phones in 3 clips"):
        run_study(network, corpus, out, monkeypatch)
    assert list(out.iterdir()) == []


def test_the_regression_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(5, 3))
    clips = []
    for _ in range(6):
        inputs = rng.normal(size=(40, 5)) + 2
        clips.append((inputs, inputs @ true + 1 + 0.01 * rng.normal(size=(40, 3))))
    chosen = choose_ridge(clips)
    assert np.abs(chosen.weights - true).max() < 0.01
    inputs, targets = (np.concatenate(part) for part in zip(*clips, strict=True))
    exact = np.linalg.lstsq(np.c_[inputs, np.ones(len(inputs))], targets, rcond=None)[0]
    np.testing.assert_allclose(fit_ridge(clips, 0.0).predict(inputs), np.c_[inputs, np.ones(len(inputs))] @ exact)
    np.testing.assert_allclose(fit_ridge(clips, 1e9).predict(inputs[:1])[0], targets.mean(axis=0), atol=1e-6)
    noise = [(inputs, rng.normal(size=(40, 3))) for inputs, _ in clips]
    assert choose_ridge(noise).penalty > chosen.penalty


def test_phones_are_cut_by_the_middles_of_frames() -> None:
    address = np.eye(4)[[0, 0, 1, 1, 2, 3]]
    cut = cut_phones([("M", 0.0, 0.08), ("AH", 0.08, 0.16), ("T", 0.161, 0.17), ("S", 0.2, 0.24)], address, 25)
    assert [(one.phone, one.address.argmax(axis=1).tolist()) for one in cut] == [
        ("M", [0, 0]),
        ("AH", [1, 1]),
        ("S", [3]),
    ]
    names, weights = tabulate_slots([*cut, PhoneSegment("M", np.full((2, 4), 0.25))])
    assert names == ["AH", "M", "S"]
    np.testing.assert_allclose(weights[1], [0.625, 0.125, 0.125, 0.125])
    nothing = [PhoneSegment("MA"[i % 2], np.eye(4)[[i % 3]]) for i in range(60)]
    result = measure_information(nothing, 0)
    assert result.found == pytest.approx(0, abs=0.02)
    assert result.shuffled < 0.1
    assert result.phones == pytest.approx(1)


def test_known_words_are_what_is_aligned() -> None:
    audio: list[str | None] = []

    class Spy(Listener):
        def find(self, wav: F32, text: str | None = None) -> list[Phone]:
            audio.append(text)
            return []

    wav = np.zeros(10, np.float32)
    find_phones(Spy(), wav, [[0.1, 0.2, "bin"], [0.2, 0.4, "blue"]])  # type: ignore[arg-type]
    find_phones(Spy(), wav, None)  # type: ignore[arg-type]
    assert audio == ["bin blue", None]
