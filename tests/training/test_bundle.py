"""Bundles: what they replace and what they keep; and training without its libraries."""

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from cals.checkpoint import Checkpoint, compute_weights_sha256, load_checkpoint, save_checkpoint
from cals.cli import main
from cals.errors import CheckpointError
from cals.inference.load import load_recognizer
from cals.models.debug import DebugConfig, DebugLips
from cals.models.factory import to_checkpoint
from cals.models.sync import SyncConfig, SyncModel
from cals.training.bundle import write_bundle
from recognizer import save_recognizer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "run" / "model", to_checkpoint(DebugLips(DebugConfig())))
    return tmp_path / "run" / "model"


@pytest.fixture
def sync(tmp_path: Path) -> Path:
    config = SyncConfig(width=4, embedding=16)
    weights = SyncModel(config).state_dict()
    save_checkpoint(tmp_path / "sync", Checkpoint(kind="sync", config=asdict(config), weights=weights))
    return tmp_path / "sync"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_recogniser_is_bundled_too(tmp_path: Path) -> None:
    run = save_recognizer(tmp_path / "run" / "model")
    loaded = load_recognizer(write_bundle(run, tmp_path / "reader"))
    assert (loaded.name, loaded.network.config) == ("reader", load_recognizer(run).network.config)
    weights = load_checkpoint(tmp_path / "reader").weights
    halved = {name for name, value in weights.items() if value.dtype == torch.float16}
    assert halved == {
        name for name, value in load_checkpoint(run).weights.items() if value.is_floating_point() and value.ndim > 1
    }


def test_an_older_bundle_is_replaced_whole_but_for_its_card(tmp_path: Path, model: Path, sync: Path) -> None:
    out = write_bundle(model, tmp_path / "out", sync)
    parts = ["README.md", "config.json", "model.safetensors"]
    assert names(out) == [*parts, "sync/config.json", "sync/model.safetensors"]
    (out / "README.md").write_text("mine")
    save_checkpoint(model, to_checkpoint(DebugLips(DebugConfig()), step=9))
    with pytest.raises(CheckpointError, match="or give --force"):
        write_bundle(model, out)
    write_bundle(model, out, force=True)
    assert names(out) == parts
    assert (out / "README.md").read_text() == "mine"
    assert load_checkpoint(out).step == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run", "sync"]  # nothing temporary stays


@pytest.mark.parametrize("foreign", ["photo.jpg", ".git/config", "sync/photo.jpg", "README.md/photo.jpg"])
def test_a_folder_that_holds_more_is_left_alone(tmp_path: Path, model: Path, foreign: str) -> None:
    place = tmp_path / "out" / foreign
    place.parent.mkdir(parents=True)
    place.write_text("keep me")
    with pytest.raises(CheckpointError, match="alone to replace, found .*; move that away"):
        write_bundle(model, tmp_path / "out", force=True)
    assert place.read_text() == "keep me"


def test_what_is_bundled_is_not_replaced(tmp_path: Path, model: Path, sync: Path) -> None:
    before = compute_weights_sha256(model), compute_weights_sha256(sync)
    out = shutil.copytree(sync, tmp_path / "out" / "sync").parent
    for place, encoders in ((model, sync), (model.parent, sync), (sync, sync), (out, out / "sync")):
        with pytest.raises(CheckpointError, match="expected a folder apart from .*; name another --out"):
            write_bundle(model, place, encoders, force=True)
    assert (compute_weights_sha256(model), compute_weights_sha256(sync)) == before


def test_a_failed_bundle_leaves_the_old_one(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write_bundle(model, tmp_path / "out")
    before = names(out)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CheckpointError, match="No space left on device; free some space"):
        write_bundle(model, out, force=True)
    assert names(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


@pytest.mark.parametrize("library", ["lightning", "tensorboard", "matplotlib"])
def test_training_names_what_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SystemExit):
        main(["train", "sync", "sync-grid-small", "--corpus", str(tmp_path), "--run", str(tmp_path / "run")])
    said = capsys.readouterr().err.strip()
    assert said.endswith(f"train: expected the library {library}, found none; pip install 'cals[train]'")
    assert "\n" not in said
    assert not (tmp_path / "run").exists()
