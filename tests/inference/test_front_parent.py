"""A lip model hears with the front-end that it was trained with, or not at all."""

import dataclasses
from pathlib import Path

import pytest
import torch

from cals import hub
from cals.checkpoint import compute_weights_sha256, save_checkpoint
from cals.errors import CheckpointError
from cals.inference.load import load_model
from cals.models.cals import UNetLips, UNetLipsConfig
from cals.models.factory import FRONT_PARENT, to_checkpoint
from cals.models.unet import UNetConfig
from front_end import HEARING, SMALL, save_front


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub, "FRONT_END_WEIGHTS", save_front(tmp_path / "front"))
    return tmp_path / "front"


def save_lips(folder: Path, **parents: str) -> Path:
    decoder = UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=2)
    model = UNetLips(UNetLipsConfig(a2l=HEARING, crop_px=decoder.crop_px, decoder=decoder))
    save_checkpoint(folder, to_checkpoint(model, parents=parents))
    return folder


def test_its_own_front_end_is_loaded(tmp_path: Path, front: Path) -> None:
    folder = save_lips(tmp_path / "lips", **{FRONT_PARENT: compute_weights_sha256(front)})
    network = load_model(folder).network
    assert bool(torch.isfinite(network.predict_units(torch.zeros(1, 40, 80))).all())


def test_another_front_end_is_refused(tmp_path: Path, front: Path) -> None:
    trained_with = compute_weights_sha256(front)
    folder = save_lips(tmp_path / "lips", **{FRONT_PARENT: trained_with})
    save_front(front, seed=1)
    with pytest.raises(
        CheckpointError, match=f"sha256 {trained_with}, found {compute_weights_sha256(front)}; use the version"
    ):
        load_model(folder)


def test_a_model_that_does_not_say_is_taken_as_it_is(tmp_path: Path, front: Path) -> None:
    folder = save_lips(tmp_path / "lips")
    load_model(folder)
    save_front(front, seed=1)
    load_model(folder)
    save_front(front, config=dataclasses.replace(SMALL, width=4))
    with pytest.raises(CheckpointError, match="width=8.*found.*width=4"):
        load_model(folder)
