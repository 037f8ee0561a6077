"""The lip reader learns synthetic mouths through the command line, stopped and resumed."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from cals.checkpoint import load_checkpoint
from cals.cli import main
from cals.data.augment import FaceAugment
from cals.errors import ConfigError, DataError
from cals.models.factory import build_frozen
from cals.models.reader import LipReader
from cals.training.loop import RunOptions, train
from cals.training.presets import READER
from cals.training.run import Corpus
from cals.training.stages.reader import ReaderStage, ReaderStageConfig
from drawn_words import write_spoken_corpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spoken_corpus(tmp_path_factory.mktemp("spoken"))


def stage(spoken: Path, changes: dict[str, object] | None = None, **train_changes: object) -> ReaderStage:
    torch.manual_seed(0)  # the network's first weights
    config: ReaderStageConfig = dataclasses.replace(READER["reader-debug"], **(changes or {}))
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, **train_changes))
    return ReaderStage(config, *Corpus(folder=spoken, splits=spoken / "splits.json").open_words(config.model))


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_the_command_leaves_a_reader(spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    splits = ["--splits", str(spoken / "splits.json")]
    main(
        ["train", "reader", "reader-debug", "--corpus", str(spoken), "--run", str(run), "--accelerator", "cpu", *splits]
    )
    assert "seen_accuracy" in capsys.readouterr().out
    model = build_frozen(LipReader, load_checkpoint(run / "model"))
    assert model.config == READER["reader-debug"].model
    last = read_log(run, "validation")[-1]
    assert {"seen_accuracy", "seen_in_slot", "seen_blanked", "seen_loss", "seen_command"} <= last.keys()
    assert not any(name.startswith("unseen") for name in last)  # nobody knows its words
    facts = read_log(run, "start")[0]
    assert (facts["clips"], facts["words"], facts["held_out"]) == (8, 40, {"seen": 10})


def test_drawn_words_are_learnt_and_a_blank_tells_little(spoken: Path, tmp_path: Path) -> None:
    model = dataclasses.replace(READER["reader-debug"].model, width=4, hidden=32, layers=2, dropout=0.0, context=1)
    changes = {"model": model, "clips": 4, "face": FaceAugment(blur=0, noise=0, jpeg=0), "smoothing": 0.0}
    learner = stage(spoken, changes, steps=80, lr=1e-2, ema=0.9, validate_every=80)
    metrics = train(learner, RunOptions(run=tmp_path / "run", accelerator="cpu"))
    assert metrics["seen_accuracy"] >= 0.8
    assert metrics["seen_blanked"] <= 0.6


def test_resumed_training_is_the_same_training(spoken: Path, tmp_path: Path) -> None:
    through = stage(spoken, steps=12)
    initial = {name: value.clone() for name, value in through.model.state_dict().items()}
    train(through, RunOptions(run=tmp_path / "through", accelerator="cpu"))

    def stop(done: int, total: int | None) -> None:
        if done == 7:
            raise KeyboardInterrupt

    broken_off = stage(spoken, steps=12, checkpoint_every_s=0.0)
    broken_off.model.load_state_dict(initial)
    with pytest.raises(KeyboardInterrupt):
        train(broken_off, RunOptions(run=tmp_path / "resumed", accelerator="cpu"), stop)
    resumed = stage(spoken, steps=12)
    torch.nn.init.zeros_(next(resumed.model.parameters()))  # what is not restored would show
    torch.manual_seed(99)  # whatever was drawn before must not matter
    train(resumed, RunOptions(run=tmp_path / "resumed", accelerator="cpu"))
    for name, value in through.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, msg=name)


def test_a_corpus_without_words_and_wrong_settings_are_refused(spoken: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["b-0"], "val_seen": [], "val_unseen": []}))
    corpus = Corpus(folder=spoken, splits=tmp_path / "splits.json")
    with pytest.raises(DataError, match=r"found none in 1; put .align files"):
        ReaderStage(READER["reader-debug"], *corpus.open_words(READER["reader-debug"].model))
    with pytest.raises(ConfigError, match="blanked and smoothing in 0..1"):
        ReaderStageConfig(blanked=1.0)
