import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors import SafetensorError

from cals.checkpoint import CONFIG, WEIGHTS, compute_weights_sha256, config_from_dict, load_checkpoint, save_checkpoint
from cals.errors import CheckpointError
from cals.inference.load import available_models, load_model
from cals.models.debug import DebugConfig, DebugLips
from cals.models.factory import from_checkpoint, to_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model", to_checkpoint(DebugLips(DebugConfig(seed=3)), step=7, metrics={"loss": 0.5}))
    return tmp_path / "model"


def test_round_trip(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    assert (checkpoint.kind, checkpoint.step, checkpoint.metrics) == ("debug", 7, {"loss": 0.5})
    model = from_checkpoint(checkpoint)
    assert model.config == DebugConfig(seed=3)
    for name, value in DebugLips(DebugConfig(seed=3)).state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model"]  # nothing temporary stays


def test_others_may_read_it(folder: Path) -> None:
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {CONFIG: 0o644, WEIGHTS: 0o644}
    assert folder.stat().st_mode & 0o777 == 0o755


def test_saving_again_replaces_it_whole(folder: Path) -> None:
    before = compute_weights_sha256(folder)
    save_checkpoint(folder, to_checkpoint(DebugLips(DebugConfig(seed=4))))
    assert compute_weights_sha256(folder) != before
    assert load_checkpoint(folder).step == 0


def break_second_rename(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    whole = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == "model" and self.name != ".model.old":
            raise error
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = compute_weights_sha256(folder)
    break_second_rename(monkeypatch, error)
    with pytest.raises((CheckpointError, KeyboardInterrupt)) as caught:
        save_checkpoint(folder, to_checkpoint(DebugLips(DebugConfig(seed=4))))
    if isinstance(error, OSError):
        assert "found Input/output error; free some space" in str(caught.value)
    assert compute_weights_sha256(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_save_that_was_killed_is_explained_and_healed(folder: Path) -> None:
    old = folder.with_name(".model.old")
    folder.rename(old)  # as a kill between both renames leaves it
    with pytest.raises(CheckpointError, match="rename .model.old to model"):
        load_checkpoint(folder)
    for _ in range(2):
        save_checkpoint(folder, to_checkpoint(DebugLips(DebugConfig(seed=4))))
        assert [p.name for p in folder.parent.iterdir()] == ["model"]
        shutil.copytree(folder, old)  # as a kill after the second rename leaves it


def test_names_are_flushed_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr("cals.files.sync_folder", flushed.append)
    save_checkpoint(tmp_path / "model", to_checkpoint(DebugLips(DebugConfig())))
    assert flushed[-1] == tmp_path
    assert len(flushed) == 2


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", no_space)
    with pytest.raises(CheckpointError, match="No space left on device; free some space"):
        save_checkpoint(tmp_path / "model", to_checkpoint(DebugLips(DebugConfig())))
    assert not list(tmp_path.iterdir())


def test_other_folders_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"keep me")
    with pytest.raises(CheckpointError, match="found something else"):
        save_checkpoint(tmp_path / "photos", to_checkpoint(DebugLips(DebugConfig())))
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"keep me"


def edit(folder: Path, **changes: object) -> None:
    document = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(document))


def test_truncated_weights(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="whole checkpoint"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "expected format 1, found 99.*; use"),
        ({"kind": "a3l"}, "expected a kind among audio2head, debug, mesh, .*wav2lip, found 'a3l'; name"),
        ({"surprise": 1}, "fields of a checkpoint"),
        ({"config": {"wide": 3}}, "expected only"),
        ({"config": {"width": 8}}, "mismatch in .*; copy or save"),
        ({"config": {"mel": {"hop": 160}}}, "expected only"),
        ({"config": {"mel": {"timing": {"fps": 30}}}}, "whole number of mel frames"),
        ({"config": {"width": "abc"}}, "DebugConfig.width: expected int, found 'abc'; "),
        ({"config": {"width": True}}, "expected int, found True"),
        ({"config": {"width": -1}}, "width from 1 to 1024, found -1"),
        ({"config": {"width": 10**9}}, "width from 1 to 1024"),
        ({"config": {"seed": 2**64}}, "seed from 0"),
        ({"config": {"crop_px": 0}}, "crop_px from 16 to 1024"),
        ({"config": {"crop_px": 30}}, "multiple of 4"),
        ({"config": {"mel": 5}}, "MelConfig: expected fields with values, found 5; "),
        ({"config": {"mel": None}}, "MelConfig: expected fields"),
        ({"config": {"mel": {"bins": 1.5}}}, "MelConfig.bins: expected int, found 1.5"),
        ({"config": {"mel": {"bins": 0}}}, "1 to 201 mel bins, found 0"),
        ({"config": {"mel": {"floor_db": float("nan")}}}, "MelConfig.floor_db: expected a finite number"),
        ({"config": {"mel": {"floor_db": 10**400}}}, "MelConfig.floor_db: expected float"),
        ({"config": []}, "config: expected dict"),
        ({"kind": []}, "kind: expected str, found"),
        ({"step": "7"}, "step: expected int"),
        ({"metrics": {"loss": "low"}}, "metrics\\['loss'\\]: expected float, found 'low'"),
    ],
)
def test_misfits_are_named(folder: Path, changes: dict[str, object], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        from_checkpoint(load_checkpoint(folder))


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: "float" = 1.0  # as `from __future__ import annotations` leaves every one


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: "Inner" = field(default_factory=Inner)
    widths: "tuple[int, int]" = (1, 2)
    names: tuple[str, ...] = ()
    limit: int | None = None
    mode: Literal["a", "b"] = "a"


def test_what_json_gives_back_is_what_was_saved() -> None:
    made = Outer(inner=Inner(rate=2.0), widths=(3, 4), names=("x", "y", "z"), limit=5, mode="b")
    assert config_from_dict(Outer, json.loads(json.dumps(dataclasses.asdict(made)))) == made
    assert config_from_dict(Outer, {"inner": {"rate": 2}, "limit": None}) == Outer(inner=Inner(rate=2.0))


@pytest.mark.parametrize(
    "values",
    [
        {"widths": [1]},
        {"widths": [1, "2"]},
        {"widths": 3},
        {"names": "xy"},
        {"limit": "5"},
        {"mode": "c"},
        {"inner": []},
    ],
)
def test_values_that_do_not_fit_their_field(values: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match=r"expected .*, found .*; copy or save"):
        config_from_dict(Outer, values)


def test_nan_weights_are_refused(folder: Path) -> None:
    model = DebugLips(DebugConfig())
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    save_checkpoint(folder, to_checkpoint(model))
    with pytest.raises(CheckpointError, match="finite.*; save"):
        from_checkpoint(load_checkpoint(folder))


def test_no_checksum_without_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="with model.safetensors, found No such file.*; name"):
        compute_weights_sha256(tmp_path / "gone")


def test_load_by_name_or_folder(folder: Path) -> None:
    assert "debug" in available_models()
    assert load_model("debug").fingerprint == load_model("debug").fingerprint
    loaded = load_model(folder)
    assert loaded.name == "model"
    assert loaded.fingerprint == compute_weights_sha256(folder)[:12]
    with pytest.raises(CheckpointError, match="did you mean 'debug'"):
        load_model("debgu")
