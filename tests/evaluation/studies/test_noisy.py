"""The noise study hides what it says it hides, and who is told where the noise is wins."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from study_scenes import FollowingLips, drawn_sample, lips_of, random_lips, tone, write_corpus
from torch import Tensor

from cals.checkpoint import save_checkpoint
from cals.cli import main
from cals.data.corruption.bursts import mark_frames
from cals.data.corruption.sound import corrupt_sound
from cals.errors import ConfigError, DataError
from cals.evaluation.studies.common import load_clips, select_clips
from cals.evaluation.studies.masking import check_a2l
from cals.evaluation.studies.mouth_readers import MeshReader, StudyClip
from cals.evaluation.studies.noisy import FILES, NoisyReport, load_clean, measure_noisy
from cals.evaluation.studies.noisy_clips import RULES, Condition, NoiseTrial, NoisyConfig, draw_bursts, name_series
from cals.evaluation.studies.reliance import MaskingRules, fit_rules, measure_levels, score_frames
from cals.features.mel import MelConfig, compute_log_mel
from cals.inference.lipsync import LipSync
from cals.inference.load import LoadedRecognizer
from cals.metrics.accuracy import ranking_auc
from cals.models.avsr.language import fit_ngram
from cals.models.avsr.network import AVSR, Encoding
from cals.models.cals import MeshLips
from cals.models.factory import to_checkpoint
from cals.training.presets import AVSR as PRESETS
from recognizer import save_recognizer

pytestmark = pytest.mark.slow

CONFIG = NoisyConfig(kinds=("white", "dropout"), snr_db=(-10.0, -20.0), measure="mesh", parts=("val",))
TINY = PRESETS["avsr-debug"].model
RULES_BY_HAND = MaskingRules(least_score=0.5, least_level_db=-200.0, most_level_db=200.0)
SEEDS = {seed: draw_bursts("a-0", 40, seed) for seed in range(3)}


class ToneHearing(AVSR):
    """Relies on a frame as far as its sound is the tone that the drawn people speak, and less on a soft one."""

    def encode(
        self, wav: Tensor | None, mouths: Tensor | None, valid: Tensor, trusted: dict[str, Tensor] | None = None
    ) -> Encoding:
        assert wav is not None
        assert mouths is None
        power = torch.fft.rfft(wav.unflatten(1, (valid.shape[1], -1))).abs().square()  # bins of 25 Hz
        tone, whole = power[..., 38:43].sum(dim=-1), power.sum(dim=-1)
        share = tone / (whole + 1.0)
        return Encoding(torch.zeros(1), valid, {"audio": share[..., None].expand(-1, -1, 4)})


def recogniser_of(network: AVSR, name: str = "ears") -> LoadedRecognizer:
    return LoadedRecognizer(name, "1" * 12, network.eval(), fit_ngram([[1, 2]], 2, TINY.tokens.size))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mouths that move along straight lines, so that what is hidden can be known from what is beside it."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(6):
        line = np.linspace(0, rng.uniform(0.6, 1.0), 50, dtype=np.float32)
        loudness = np.concatenate([np.zeros(10, np.float32), line])  # at rest first
        samples.append(drawn_sample(f"{'ab'[i % 2]}-{i}", loudness, side=0))
    folder = write_corpus(tmp_path_factory.mktemp("corpus"), samples)
    parts = {"train": ["a-0", "b-1", "a-2"], "val": ["b-3", "a-4", "b-5"]}
    (folder / "splits.json").write_text(json.dumps(parts))
    return folder


@pytest.fixture(scope="module")
def lips() -> LipSync:
    return lips_of(FollowingLips(0))


@pytest.fixture(scope="module")
def untrained() -> MeshLips:
    torch.manual_seed(0)
    network = random_lips()
    network.a2l.front.hidden_step.data.normal_()
    return network


@pytest.fixture(scope="module")
def study_results(corpus: Path, lips: LipSync, tmp_path_factory: pytest.TempPathFactory) -> tuple[NoisyReport, Path]:
    out = tmp_path_factory.mktemp("study_results") / "out"
    ears = recogniser_of(ToneHearing(TINY))
    return measure_noisy(lips, ears, corpus, out, CONFIG, splits=corpus / "splits.json"), out


def test_hiding_the_truth_is_hiding_by_hand(untrained: MeshLips) -> None:
    network = untrained
    trial = NoiseTrial(
        network=network, recogniser=ToneHearing(TINY), rules=RULES_BY_HAND, reader=MeshReader(), config=CONFIG
    )
    bursts = draw_bursts("anna", 50, 0)
    corrupted = mark_frames(bursts, 50)
    wav = corrupt_sound(tone(np.full(50, 0.5, np.float32)), Condition("white", -5.0).fill_bursts(bursts), 640)
    masks, scores = trial.choose_masks(wav, corrupted)
    assert np.array_equal(masks["scored"], corrupted)
    assert not masks["level"].any()
    assert np.array_equal(np.array(scores) < 0.5, corrupted)
    audio = trial.predict_masked_units(wav, masks)
    mel = compute_log_mel(torch.from_numpy(wav)[None], network.mel)
    lost = torch.zeros(1, 50, dtype=torch.bool)
    for burst in bursts:
        lost[0, burst.start : burst.end] = True
    with torch.inference_mode():
        asis, hidden = network.predict_units(mel), network.a2l(mel, lost)
    for row, by_hand in zip(audio, (asis, hidden, hidden, asis), strict=True):
        assert torch.allclose(row, by_hand[0], atol=1e-5)
    assert not torch.allclose(asis, hidden, atol=1e-3)


def test_bursts_are_the_same_for_every_kind_and_strength(study_results: tuple[NoisyReport, Path]) -> None:
    report, _ = study_results
    bursts = draw_bursts("anna", 50, 0)
    assert bursts == draw_bursts("anna", 50, 0)
    assert bursts != draw_bursts("anna", 50, 1)
    assert bursts != draw_bursts("bert", 50, 0)
    for condition in CONFIG.conditions:
        filled = condition.fill_bursts(bursts)
        assert [(b.start, b.end, b.seed) for b in filled] == [(b.start, b.end, b.seed) for b in bursts]
        assert {(b.kind, b.strength) for b in filled} == {(condition.kind, condition.strength)}
    assert [condition.name for condition in CONFIG.conditions] == ["white -10 dB", "white -20 dB", "dropout"]
    for record in report.clips:
        corrupted = mark_frames(draw_bursts(record.clip, 60, 0), 60)
        assert record.corrupted == record.moments == np.flatnonzero(corrupted).tolist()


def test_rules_are_quantiles_of_clean_training_frames(corpus: Path) -> None:
    torch.manual_seed(0)
    recogniser = AVSR(TINY).eval()
    wavs = load_clean(corpus, corpus / "splits.json", MelConfig())
    assert sorted(wavs) == ["a-0", "a-2", "b-1"]
    rules = fit_rules(recogniser, wavs.values())
    scores = []
    for wav in wavs.values():
        with torch.inference_mode():
            encoding = recogniser.encode(torch.from_numpy(wav)[None], None, torch.ones(1, 60, dtype=torch.bool))
        scores.append(encoding.scores["audio"][0].mean(dim=1).numpy())
    assert rules.least_score == pytest.approx(np.quantile(np.concatenate(scores), 0.05), abs=2e-6)
    hidden = sum(rules.mask_by_score(score_frames(recogniser, wav)).sum() for wav in wavs.values())
    assert 8 <= hidden <= 10  # of 180
    outside = sum(rules.mask_by_level(measure_levels(wav, 640)).sum() for wav in wavs.values())
    assert outside <= 9


def test_levels_are_those_that_last() -> None:
    loudness = np.full(60, 0.5, np.float32)
    loudness[10:14] = 1.0  # a peak of speech
    loudness[30:45] = 0.8  # noise, 9 dB louder
    levels = measure_levels(tone(loudness), 640)
    assert levels[:30] == pytest.approx(np.full(30, -34 + 15 - 3.01), abs=0.01)  # a tone's power is half its peak's
    assert levels[30:45] == pytest.approx(np.full(15, -34 + 24 - 3.01), abs=0.01)
    assert levels[45:] == pytest.approx(levels[:15])
    wav = tone(np.full(60, 0.5, np.float32))
    wav[20 * 640 : 25 * 640] = 0
    assert np.flatnonzero(measure_levels(wav, 640) < -50).tolist() == [20, 21, 22, 23, 24]


def test_who_knows_where_the_noise_is_wins(study_results: tuple[NoisyReport, Path]) -> None:
    report, _ = study_results
    assert list(report.points) == ["val"]
    for condition in CONFIG.conditions:
        opening, lmd = (report.points["val"][condition.name][name] for name in ("opening", "lmd"))
        assert opening["clean"].value > 0.999
        assert opening["told"].value > 0.95 > opening["noisy"].value
        assert opening["noisy - told"].high < 0 < lmd["noisy - told"].low
        assert lmd["noisy - told"].value == pytest.approx(lmd["noisy"].value - lmd["told"].value)
        result = report.detection["val"][condition.name]
        assert result["AUC"].value > 0.99
        assert result["scored: hit rate"].value > 0.95
        assert result["scored: false alarms"].value < 0.15
        assert opening["noisy - scored"].value < 0 < lmd["noisy - scored"].value


def test_detection_is_counted(study_results: tuple[NoisyReport, Path]) -> None:
    report, _ = study_results
    for condition in CONFIG.conditions:
        result = report.detection["val"][condition.name]
        scores, truth, masks = [], [], {way: [] for way in RULES}
        for record in report.clips:
            scores += record.scores[condition.name]
            truth += [frame in record.corrupted for frame in range(60)]
            for way in RULES:
                masks[way] += [frame in record.hidden[name_series(way, condition)] for frame in range(60)]
        bad = np.array(truth)
        assert result["AUC"].value == pytest.approx(ranking_auc(1 - np.array(scores, np.float32), bad))
        for way in RULES:
            mask = np.array(masks[way])
            assert result[f"{way}: hit rate"].value == pytest.approx(mask[bad].mean())
            assert result[f"{way}: false alarms"].value == pytest.approx(mask[~bad].mean())


def test_it_is_all_in_the_files(study_results: tuple[NoisyReport, Path]) -> None:
    report, out = study_results
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    document = json.loads((out / "noisy.json").read_text())
    assert document["settings"]["recogniser"] == f"ears ({'1' * 12})"
    assert document["settings"]["clean_clips"] == 3
    assert 0 < document["settings"]["least_score"] < 1
    assert len(document["clips"][0]["series"]) == 5 * 3
    assert len(document["clips"][0]["scores"]["dropout"]) == 60
    assert report.format_summary() in (out / "noisy.md").read_text()
    assert f"under {document['settings']['least_score']:g};" in (out / "noisy.md").read_text()
    assert cv2.imread(str(out / "noisy.png")) is not None


class _Stop(Exception):  # noqa: N818
    """As Ctrl-C would."""


def test_interrupted_work_goes_on_and_says_the_same(
    corpus: Path, lips: LipSync, study_results: tuple[NoisyReport, Path], tmp_path: Path
) -> None:
    ears, splits = recogniser_of(ToneHearing(TINY)), corpus / "splits.json"

    def stop(done: int, _: int | None) -> None:
        if done == 2:
            raise _Stop

    with pytest.raises(_Stop):
        measure_noisy(lips, ears, corpus, tmp_path, CONFIG, splits=splits, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [".noisy.jsonl"]
    other = dataclasses.replace(CONFIG, snr_db=(-10.0,))
    with pytest.raises(ConfigError, match="another snr_db; give it the same settings"):
        measure_noisy(lips, ears, corpus, tmp_path, other, splits=splits)
    with pytest.raises(ConfigError, match="another recogniser"):
        measure_noisy(lips, recogniser_of(ToneHearing(TINY), "other"), corpus, tmp_path, CONFIG, splits=splits)
    seen: list[int] = []
    resumed = measure_noisy(
        lips, ears, corpus, tmp_path, CONFIG, splits=splits, progress=lambda done, _: seen.append(done)
    )
    assert seen == [2, 3]
    assert resumed.document() == study_results[0].document()


def test_babble_is_made_of_other_clips(corpus: Path, lips: LipSync) -> None:
    config = NoisyConfig(kinds=("babble",), snr_db=(0.0,), measure="mesh")
    pick, clip = next(load_clips(corpus, select_clips(corpus, None, config)[:1], MelConfig()))
    rng = np.random.default_rng(0)
    other = rng.standard_normal(60 * 640).astype(np.float32)

    def scores(voices: dict[str, np.ndarray]) -> list[float]:
        trial = NoiseTrial(
            network=check_a2l(lips.model.network),
            recogniser=ToneHearing(TINY),
            rules=RULES_BY_HAND,
            reader=MeshReader(),
            config=config,
            voices=voices,
        )
        return trial.measure(pick, StudyClip(clip)).scores["babble 0 dB"]

    result = scores({"other": other})
    assert scores({"other": other, pick.key: other[::-1].copy()}) == result
    assert scores({}) != result


def test_the_command_runs(
    corpus: Path, untrained: MeshLips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "lips", to_checkpoint(untrained))
    ears = ["--recogniser", str(save_recognizer(tmp_path / "ears"))]
    sizes = ["--kinds", "white", "dropout", "--snr-db", "10", "-5", "--every", "4", "--clips", "2", "--measure", "mesh"]
    command = ["noisy", str(tmp_path / "lips"), str(corpus), "--out", str(tmp_path / "out")]
    main([*command, *ears, *sizes])
    stdout = capsys.readouterr().out
    for text in ("| all | white -5 dB |", "| noisy - scored | noisy - told |", "AUC", "2 of 2 clips judged"):
        assert text in stdout
    for streams, scoring, message in (
        ("video", True, "found one of video alone"),
        ("audio", True, "found one of audio alone"),
        ("both", False, "found one without scores"),
    ):
        wrong = save_recognizer(tmp_path / f"{streams}-{scoring}", streams=streams, scoring=scoring)
        with pytest.raises(SystemExit):
            main([*command[:-1], str(tmp_path / "no"), "--recogniser", str(wrong), *sizes])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command[:-1], str(tmp_path / "no"), "--recogniser", str(tmp_path / "lips"), *sizes])
    assert "expected a recogniser, found a 'mesh' model" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["noisy", "debug", str(corpus), "--out", str(tmp_path / "no"), *ears])
    assert "expected one with an Audio-to-Lip" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_wrong_input_is_refused(corpus: Path, lips: LipSync, tmp_path: Path) -> None:
    for wrong, message in (
        ({"kinds": ()}, "kinds: expected one or more"),
        ({"kinds": ("white", "white")}, "each once"),
        ({"kinds": ("whit",)}, "did you mean white"),
        ({"kinds": ("blur",)}, "expected one of babble"),
        ({"snr_db": ()}, "snr_db: expected one or more"),
        ({"snr_db": (100.0,)}, "snr_db: expected -60"),
        ({"every": 0}, "every"),
    ):
        with pytest.raises(ConfigError, match=message):
            NoisyConfig(**wrong)  # type: ignore[arg-type]
    (tmp_path / "splits.json").write_text(json.dumps({"val": ["a-0"]}))
    ears = recogniser_of(ToneHearing(TINY))
    with pytest.raises(DataError, match="expected the parts train"):
        measure_noisy(lips, ears, corpus, tmp_path / "out", CONFIG, splits=tmp_path / "splits.json")
    slow = dataclasses.replace(MelConfig(), timing=dataclasses.replace(MelConfig().timing, fps=50))
    ears = recogniser_of(ToneHearing(dataclasses.replace(TINY, mel=slow)))
    with pytest.raises(ConfigError, match="found 16000 Hz and 50 fps"):
        measure_noisy(lips, ears, corpus, tmp_path / "out", CONFIG, splits=corpus / "splits.json")
    assert not (tmp_path / "out" / "noisy.json").exists()
