"""The stages on a synthetic corpus, through the command line, stopped and resumed."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

from cals.checkpoint import compute_weights_sha256, load_checkpoint
from cals.cli import main
from cals.data import store as storing
from cals.data.shards import write_shard
from cals.data.store import ClipStore, load_split_names
from cals.data.voice_bank import BankConfig
from cals.errors import CheckpointError, ConfigError, DataError
from cals.features.mel import MelConfig
from cals.training.loop import RunOptions, resolve_device, train
from cals.training.optim import compute_lr_share
from cals.training.presets import SYNC, get_preset
from cals.training.run import Corpus, load_expert
from cals.training.stages.sync import SyncStage
from cals.training.state import PIECE_BYTES, load_state, save_state
from training.conftest import PLAIN, draw_sample

pytestmark = pytest.mark.slow


def read_log(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_a_run_leaves_all_that_is_promised(sync_run: Path) -> None:
    assert {"log.jsonl", "curves.png", "state", "model", "tensorboard"} <= {p.name for p in sync_run.iterdir()}
    assert load_checkpoint(sync_run / "model").step == SYNC["sync-debug"].train.steps
    assert {"total", "accuracy", "gradient"} <= read_log(sync_run, "train")[0].keys()
    assert "seen_windows_found" in read_log(sync_run, "validation")[-1]
    assert all(p.stat().st_size < 16 << 20 for p in (sync_run / "state").iterdir())


def stage(corpus: Path, **train_changes: object) -> SyncStage:
    config = SYNC["sync-debug"]
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, **train_changes))
    return SyncStage(config, *Corpus(folder=corpus, splits=corpus / "splits.json").open_clips(MelConfig()))


def test_resumed_training_is_the_same_training(corpus: Path, tmp_path: Path) -> None:
    steps = {"steps": 14, "validate_every": 7}
    through = stage(corpus, **steps)
    initial = {name: value.clone() for name, value in through.model.state_dict().items()}
    train(through, RunOptions(run=tmp_path / "through", accelerator="cpu"))

    def stop(done: int, total: int | None) -> None:
        if done == 9:
            raise KeyboardInterrupt

    broken_off = stage(corpus, checkpoint_every_s=0.0, **steps)  # a checkpoint after every step
    broken_off.model.load_state_dict(initial)
    with pytest.raises(KeyboardInterrupt):
        train(broken_off, RunOptions(run=tmp_path / "resumed", accelerator="cpu"), stop)
    resumed = stage(corpus, **steps)
    torch.nn.init.zeros_(next(resumed.model.parameters()))  # what is not restored would show
    torch.manual_seed(99)  # whatever was drawn before must not matter
    train(resumed, RunOptions(run=tmp_path / "resumed", accelerator="cpu"))
    for name, value in through.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, msg=name)
    logs = [read_log(tmp_path / run, "train") for run in ("through", "resumed")]
    assert [line["step"] for line in logs[1]] == [line["step"] for line in logs[0]]
    assert [line["total"] for line in logs[1]] == pytest.approx([line["total"] for line in logs[0]])


def test_two_processes_do_not_train_in_one_run(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    options = RunOptions(run=tmp_path / "run", accelerator="cpu")
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(ConfigError, match="found another that trains in it"):
        train(stage(corpus), options)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_sync_encoders_learn_drawn_mouths(corpus: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(SYNC["sync-debug"], clips=5, **PLAIN)
    settings = dataclasses.replace(config.train, steps=60, log_every=1, validate_every=60)
    stores = Corpus(folder=corpus, splits=corpus / "splits.json").open_clips(MelConfig())
    learner = SyncStage(dataclasses.replace(config, train=settings), *stores)
    train(learner, RunOptions(run=tmp_path / "run", accelerator="cpu"))
    last = read_log(tmp_path / "run", "train")[-10:]
    # Who only knew the clip would come to log 4 and find a quarter; five seeds came to 0.3 to 0.8 and found two thirds.
    assert sum(line["total"] for line in last) / 10 < math.log(config.per_clip)
    assert sum(line["accuracy"] for line in last) / 10 > 0.4


def test_a2l_names_its_sync_encoders(sync_run: Path, a2l_run: Path) -> None:
    run = a2l_run
    checkpoint = load_checkpoint(run / "model")
    assert checkpoint.parents == {"sync": compute_weights_sha256(sync_run / "model")}
    last = read_log(run, "validation")[-1]
    assert {"seen_masked", "seen_heard", "seen_mean_unit"} <= last.keys()
    coverage = [line["coverage"] for line in read_log(run, "train")]
    assert 0.3 < sum(coverage) / len(coverage) < 0.8
    with pytest.raises(CheckpointError, match="expected sync encoders, found a 'a2l'"):
        load_expert(run / "model", RunOptions(run=run))


def test_each_process_measures_on_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [resolve_device(name) for name in ("auto", "gpu", "mps")] == [torch.device("mps")] * 3
    assert resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert resolve_device("cuda") == torch.device("cuda", 3)


def test_other_voices_are_for_training_only(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tmp_path / "bank"
    bank.mkdir()
    (bank / "voices.json").write_text(json.dumps(BankConfig(k=2).document))
    keys = [json.loads(line)["key"] for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    save_file({key: torch.full((2, 240, 80), -33.0).half() for key in keys}, bank / "shard-00000.safetensors")
    source = Corpus(folder=corpus, splits=corpus / "splits.json", voices=bank)
    training, held_out = source.open_clips(MelConfig())
    assert [len(training.load_variants(i)) for i in range(len(training))] == [3] * 5
    assert float(training.load_variants(0)[2].mean()) == -33
    assert sorted(held_out) == ["seen", "unseen"]
    assert all(len(store.load_variants(i)) == 1 for store in held_out.values() for i in range(len(store)))
    arguments = ["train", "sync", "sync-debug", "--corpus", str(corpus), "--run", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--voices", str(tmp_path / "nowhere")])
    assert stopped.value.code == 1
    assert "nowhere: expected a folder of voices" in capsys.readouterr().err


def test_without_splits_a_few_clips_are_held_out(tmp_path: Path) -> None:
    def prepare(folder: Path, count: int) -> Path:
        folder.mkdir()
        samples = [draw_sample(f"a-{i}", i) for i in range(count)]
        write_shard(folder / "shard-00000.tar", samples)
        lines = [json.dumps({"key": s.key, "shard": "shard-00000.tar"} | s.facts) for s in samples]
        (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
        return folder

    training, held_out = Corpus(folder=prepare(tmp_path / "ten", 10)).open_clips(MelConfig())
    again = Corpus(folder=tmp_path / "ten").open_clips(MelConfig())[1]
    assert (len(training), {part: len(store) for part, store in held_out.items()}) == (9, {"seen": 1})
    assert held_out["seen"].key(0) == again["seen"].key(0)
    assert held_out["seen"].key(0) not in {training.key(i) for i in range(9)}
    assert SyncStage(SYNC["sync-debug"], training, held_out).describe_run()["held_out"] == {"seen": 1}
    training, held_out = Corpus(folder=prepare(tmp_path / "nine", 9)).open_clips(MelConfig())
    assert (len(training), held_out) == (9, {})


def test_training_that_stays_at_chance_explains_itself(corpus: Path) -> None:
    idle = stage(corpus)
    word = idle.build_advice(10**6, {"seen_windows_found": 0.09})
    assert word is not None
    for reason in ("not in sync", "too few speakers (2)", "too high a rate", "0.69"):
        assert reason in word
    assert idle.build_advice(10**6, {"seen_windows_found": 0.9}) is None
    assert idle.build_advice(0, {"seen_windows_found": 0.09}) is None  # too early to say


def test_another_preset_does_not_overwrite_a_run(corpus: Path, sync_run: Path, tmp_path: Path) -> None:
    shutil.copytree(sync_run, tmp_path / "run")
    before = compute_weights_sha256(tmp_path / "run" / "model")
    with pytest.raises(ConfigError, match=r"other \['lr'\]"):
        train(stage(corpus, lr=0.5), RunOptions(run=tmp_path / "run", accelerator="cpu"))
    assert compute_weights_sha256(tmp_path / "run" / "model") == before


def test_learning_rate_rises_and_falls() -> None:
    config = dataclasses.replace(SYNC["sync-debug"].train, steps=1000, warmup=0.1)
    shares = [compute_lr_share(step, config) for step in range(1200)]
    assert shares[0] == pytest.approx(0.01)
    assert shares[99] == shares[100] == 1.0
    assert shares[999] == pytest.approx(0.05, abs=1e-3)
    assert shares[1199] == 0.05


def test_state_is_kept_in_small_pieces(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.full((1 << 20,), float(i)) for i in range(9)}
    save_state(tmp_path / "state", tensors, {"step": 3})
    sizes = [p.stat().st_size for p in (tmp_path / "state").glob("*.safetensors")]
    assert len(sizes) == 3
    assert max(sizes) < PIECE_BYTES + 10_000
    found, facts = load_state(tmp_path / "state")
    assert facts["step"] == 3
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    (tmp_path / "state" / "state-001.safetensors").unlink()
    with pytest.raises(CheckpointError, match="whole training state"):
        load_state(tmp_path / "state")


def test_a_run_killed_while_it_saved_goes_on(sync_run: Path, corpus: Path, tmp_path: Path) -> None:
    run = shutil.copytree(sync_run, tmp_path / "run")
    for part in ("state", "model"):  # as a kill between both renames leaves them
        (run / part).rename(run / f".{part}.old")
    with (run / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "st')
    steps = SYNC["sync-debug"].train.steps
    train(stage(corpus, steps=steps + 5), RunOptions(run=run, accelerator="cpu"))
    assert load_state(run / "state")[1]["step"] == steps + 5
    assert [line["step"] for line in read_log(run, "start")] == [0, steps]
    assert not [path.name for path in run.iterdir() if path.name.startswith(".") and path.name != ".lock"]


def test_unknown_names_are_explained(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'sync-debug'"):
        get_preset(SYNC, "sync-debgu")
    with pytest.raises(DataError, match="run `cals prepare`"):
        ClipStore(tmp_path, MelConfig())
    with pytest.raises(DataError, match="expected the parts nobody"):
        load_split_names(corpus / "splits.json", "nobody")


def test_a_store_keeps_few_decoded_pictures(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "MAX_DECODED_BYTES", 2 * 60 * 128 * 128 * 3)
    decode, decoded = storing.decode_crops, []
    monkeypatch.setattr(storing, "decode_crops", lambda video, frames: decoded.append(frames) or decode(video, frames))
    store = ClipStore(corpus, MelConfig())
    first = store[0].crops
    for index in (1, 0, 0, 2):  # the last one takes the place of 1
        store[index]
    assert len(decoded) == 3
    assert store[0].crops is first
    assert len(decoded) == 3
    store[1]
    assert len(decoded) == 4


def test_store_decodes_what_was_prepared(corpus: Path) -> None:
    store = ClipStore(corpus, MelConfig())
    clip = store[0]
    assert clip.crops.shape == (60, 128, 128, 3)
    assert clip.mel.shape == (240, 80)
    assert sorted(set(store.speakers)) == ["a", "b"]
