"""The recogniser learns synthetic words through the command line, stopped and resumed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cals.checkpoint import load_checkpoint
from cals.cli import main
from cals.data.augment import FaceAugment
from cals.data.corruption.config import CorruptionConfig
from cals.data.utterances import build_batch, cut_words
from cals.errors import ConfigError, DataError
from cals.inference.load import load_recognizer
from cals.models.avsr.checkpoint import avsr_from_checkpoint
from cals.models.avsr.network import AVSR
from cals.models.avsr.tokens import build_tokens
from cals.models.factory import FRONT_PARENT
from cals.models.whisper import WhisperConfig
from cals.training import presets
from cals.training.loop import RunOptions, train
from cals.training.run import Corpus, train_avsr
from cals.training.stages.avsr import AVSRStage, AVSRStageConfig
from drawn_words import FRAMES, MOUTHS, write_spoken_corpus

pytestmark = pytest.mark.slow

CLEAN = CorruptionConfig(probability=0.0)
STILL = FaceAugment(turn_deg=0, scale=0, aspect=0, shift=0, bumps=0, gain=0, colour=0, gamma=0, blur=0, noise=0, jpeg=0)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spoken_corpus(tmp_path_factory.mktemp("spoken"))


def stage(
    spoken: Path, changes: dict[str, object] | None = None, splits: Path | None = None, **train_changes: object
) -> AVSRStage:
    torch.manual_seed(0)  # the network's first weights
    config: AVSRStageConfig = dataclasses.replace(presets.AVSR["avsr-debug"], **(changes or {}))
    training, held_out = Corpus(folder=spoken, splits=splits or spoken / "splits.json").open_utterances(config.model)
    model = dataclasses.replace(config.model, tokens=build_tokens(training.texts, config.unit))
    config = dataclasses.replace(config, model=model, train=dataclasses.replace(config.train, **train_changes))
    return AVSRStage(config, AVSR(model), training, held_out, {})


def test_the_command_leaves_a_recogniser(spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, splits = tmp_path / "run", ["--splits", str(spoken / "splits.json")]
    main(["train", "avsr", "avsr-debug", "--corpus", str(spoken), "--run", str(run), *splits, "--seed", "4"])
    assert str(run / "model") in capsys.readouterr().out
    checkpoint = load_checkpoint(run / "model")
    network, language = avsr_from_checkpoint(checkpoint)
    assert network.config.tokens.vocabulary == tuple(sorted(MOUTHS))
    assert language.vocabulary_size == network.config.tokens.size
    expected = {"seen_wer", "seen_corrupted_wer", "seen_audio_auc", "seen_video_auc"}
    assert set(checkpoint.metrics) == expected  # nobody knows what the stranger says
    facts = json.loads((run / "log.jsonl").read_text().splitlines()[0])
    assert facts["clips"] == 8
    assert facts["held_out"] == {"seen": 2}
    assert facts["without_text"] == 0


def test_a_few_clips_are_learnt_by_heart(spoken: Path, tmp_path: Path) -> None:
    names = [f"a-{i}" for i in range(2)]
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"train": names, "val_seen": names}))
    model = dataclasses.replace(presets.AVSR["avsr-debug"].model, channels=4, width=32, hidden=64, dropout=0.0)
    changes = {
        "model": model,
        "missing": 0.0,
        "pieces": 0.0,
        "smoothing": 0.0,
        "clips": 2,
        "corruption": CLEAN,
        "test": CLEAN,
        "face": STILL,
    }
    learner = stage(spoken, changes, splits, steps=75, lr=1e-2, validate_every=75, ema=0.8)
    metrics = train(learner, RunOptions(run=tmp_path / "run", accelerator="cpu"))
    assert metrics["seen_wer"] <= 0.1


def test_scores_learn_which_frames_are_corrupted(spoken: Path) -> None:
    learner = stage(spoken, {"reliability_weight": 2.0, "pieces": 0.0, "face": STILL})
    optimizer = torch.optim.Adam(learner.model.scorers.parameters(), lr=3e-3)
    history = []
    for _ in range(40):
        losses = learner.compute_losses(learner.model, np.random.default_rng(3), torch.device("cpu"))
        history.append(losses["reliability"].item())
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    rest = 0.1 * losses["ctc"] + 0.9 * losses["attention"]
    assert losses["total"].item() == pytest.approx((rest + 2 * losses["reliability"]).item(), rel=1e-5)
    assert history[-1] < history[0] / 2
    unsupervised = stage(spoken, {"reliability_weight": 0.0})
    assert "reliability" not in unsupervised.compute_losses(
        unsupervised.model, np.random.default_rng(3), torch.device("cpu")
    )


def test_a_withheld_stream_is_not_to_be_trusted(spoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = stage(spoken, {"reliability_weight": 1.0, "missing": 1.0, "corruption": CLEAN, "pieces": 0.0})
    taught = []
    monkeypatch.setattr(
        "cals.training.stages.avsr.supervise_scores",
        lambda scores, clean, valid: taught.append(clean) or next(iter(scores.values())).mean(),
    )
    learner.compute_losses(learner.model, np.random.default_rng(0), torch.device("cpu"))
    rows = torch.stack([taught[0][name].any(dim=1) for name in ("audio", "video")])
    assert (rows.sum(dim=0) == 1).all()  # every clip lacks one of its streams


def test_resumed_training_is_the_same_training(spoken: Path, tmp_path: Path) -> None:
    through = stage(spoken, steps=8)
    initial = {name: value.clone() for name, value in through.model.state_dict().items()}
    train(through, RunOptions(run=tmp_path / "through", accelerator="cpu"))

    def stop(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    broken_off = stage(spoken, steps=8, checkpoint_every_s=0.0)
    broken_off.model.load_state_dict(initial)
    with pytest.raises(KeyboardInterrupt):
        train(broken_off, RunOptions(run=tmp_path / "resumed", accelerator="cpu"), stop)
    resumed = stage(spoken, steps=8)
    torch.nn.init.zeros_(next(resumed.model.parameters()))  # what is not restored would show
    torch.manual_seed(99)  # whatever was drawn before must not matter
    train(resumed, RunOptions(run=tmp_path / "resumed", accelerator="cpu"))
    for name, value in through.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, msg=name)


def test_seeds_make_other_networks_and_front_ends_are_begun_with(spoken: Path, tmp_path: Path) -> None:
    corpus = Corpus(folder=spoken, splits=spoken / "splits.json")

    def trained(name: str, seed: int, **kwargs: object) -> AVSR:
        options = RunOptions(run=tmp_path / name, accelerator="cpu", seed=seed, max_minutes=0.0)
        train_avsr("avsr-debug", corpus, options, **kwargs)
        return avsr_from_checkpoint(load_checkpoint(tmp_path / name / "model"))[0]

    first, second = trained("first", 0), trained("second", 1)
    begun = trained("begun", 1, front_ends=[tmp_path / "first" / "model"])
    for name, weight in first.state_dict().items():
        is_front_end = name.startswith(("see.", "hear."))
        if weight.ndim > 1 and name != "stream":  # which begins with zeros
            assert not torch.equal(weight, second.state_dict()[name])
            assert torch.equal((first if is_front_end else second).state_dict()[name], begun.state_dict()[name])


@pytest.mark.parametrize("streams", ["video", "both"])
def test_whisper_is_heard_with_where_there_is_sound(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: str
) -> None:
    debug = presets.AVSR["avsr-debug"]
    model = dataclasses.replace(debug.model, whisper=WhisperConfig(), streams=streams)
    monkeypatch.setitem(presets.AVSR, "avsr-debug", dataclasses.replace(debug, model=model))
    corpus = Corpus(folder=spoken, splits=spoken / "splits.json")
    train_avsr("avsr-debug", corpus, RunOptions(run=tmp_path / "run", accelerator="cpu", max_minutes=0.0))
    assert (FRONT_PARENT in load_checkpoint(tmp_path / "run" / "model").parents) == (streams == "both")
    assert load_recognizer(tmp_path / "run" / "model").network.config.streams == streams


def test_a_batch_is_padded_and_says_what_was_done(spoken: Path) -> None:
    config = presets.AVSR["avsr-debug"].model
    store, _ = Corpus(folder=spoken, splits=spoken / "splits.json").open_utterances(config)
    utterances = [store[0], dataclasses.replace(store[1], mouth=store[1].mouth[:30], wav=store[1].wav[: 30 * 640])]
    batch = build_batch(utterances, np.random.default_rng(0), None, config.view_px)
    assert batch.wav.shape == (2, FRAMES * 640)
    assert batch.mouths.shape == (2, FRAMES, config.view_px, config.view_px)
    assert batch.valid.sum(dim=1).tolist() == [FRAMES, 30]
    assert not batch.wav[1, 30 * 640 :].any()
    assert not batch.mouths[1, 30:].any()
    assert not any(flags.any() for done in batch.corruptions for flags in done.truth.values())
    corrupted = build_batch(utterances, np.random.default_rng(0), CorruptionConfig(), config.view_px)
    for row, done in enumerate(corrupted.corruptions):
        changed = (corrupted.mouths[row] != batch.mouths[row]).flatten(1).any(dim=1).numpy()[: done.frames]
        assert done.truth["video"].any()
        assert (changed <= done.truth["video"]).all()
        moved = (corrupted.wav[row] != batch.wav[row]).view(-1, 640).any(dim=1).numpy()[: done.frames]
        assert (moved == done.truth["audio"]).all()


def test_words_are_cut_out_with_their_sound_and_mouths(spoken: Path) -> None:
    config = presets.AVSR["avsr-debug"].model
    store, _ = Corpus(folder=spoken, splits=spoken / "splits.json").open_utterances(config)
    whole, rng = store[0], np.random.default_rng(0)
    for count in (1, 2, 5):
        for _ in range(8):
            piece = cut_words(whole, rng, count)
            first = next(i for i in range(FRAMES) if np.array_equal(whole.wav[i * 640 :][: len(piece.wav)], piece.wav))
            assert len(piece.wav) == 640 * len(piece.mouth)
            assert np.array_equal(whole.mouth[first : first + len(piece.mouth)], piece.mouth)
            inside = [w for w in whole.words if first <= w.start and w.end <= first + len(piece.mouth)]
            assert [w.text for w in inside] == piece.text.split()
            assert len(inside) == count
    assert cut_words(whole, rng, 6) is whole


def test_without_times_of_words_batches_are_of_whole_clips(spoken: Path) -> None:
    with_times = stage(spoken, {"pieces": 1.0, "most_words": 1})
    clips = with_times.config.clips
    assert len(with_times._sample(np.random.default_rng(0))) == 5 * clips  # sentences have five words
    training, _ = Corpus(folder=spoken, splits=spoken / "splits.json").open_utterances(with_times.config.model)
    training.facts = [facts | {"words": None} for facts in training.facts]
    without = AVSRStage(with_times.config, with_times.model, training, {}, {})
    assert len(without._sample(np.random.default_rng(0))) == clips


def test_training_goes_from_words_to_whole_clips(spoken: Path) -> None:
    learner = stage(spoken, {"pieces": 1.0, "pieces_until": 0.5, "most_words": 1}, steps=40)
    clips = learner.config.clips

    def count_pieces() -> int:
        return sum(len(learner._sample(np.random.default_rng(seed))) > clips for seed in range(40))

    assert count_pieces() == 40
    learner.step = 10
    assert 10 < count_pieces() < 30
    learner.step = 20
    assert count_pieces() == 0


def test_a_corpus_without_text_and_wrong_settings_are_refused(spoken: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["b-0"], "val_seen": [], "val_unseen": []}))
    corpus = Corpus(folder=spoken, splits=tmp_path / "splits.json")
    with pytest.raises(DataError, match=r"found none in 1; put transcripts"):
        train_avsr("avsr-debug", corpus, RunOptions(run=tmp_path / "run", accelerator="cpu"))
    with pytest.raises(ConfigError, match="missing, pieces and pieces_until in 0"):
        AVSRStageConfig(missing=1.5)
