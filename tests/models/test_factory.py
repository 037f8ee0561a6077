"""The registry of networks: what is packed is built again, and nothing else is."""

import dataclasses

import pytest
import torch
from torch import nn

from cals.checkpoint import Checkpoint
from cals.errors import CheckpointError
from cals.models.a2l import A2L
from cals.models.factory import KINDS, build_frozen, from_checkpoint, to_checkpoint
from cals.models.lips import LipModel
from cals.models.reader import LipReader, ReaderConfig
from cals.models.sync import SyncConfig, SyncModel
from cals.training import presets

NETWORKS: dict[str, nn.Module] = {
    "a2l": A2L(presets.A2L["a2l-debug"].model),
    "reader": LipReader(ReaderConfig(width=2, hidden=8, layers=1)),
    "sync": SyncModel(SyncConfig(width=4, embedding=16)),
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_comes_back_frozen(name: str) -> None:
    network = NETWORKS[name]
    checkpoint = to_checkpoint(network, step=3)
    assert (checkpoint.kind, checkpoint.step) == (name, 3)
    found = build_frozen(type(network), checkpoint)
    assert not found.training
    assert not any(weight.requires_grad for weight in found.parameters())
    assert found.config == network.config
    for key, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)


def test_only_the_kind_that_is_asked_for_is_built() -> None:
    checkpoint = to_checkpoint(NETWORKS["reader"])
    with pytest.raises(CheckpointError, match="expected sync encoders, found a 'reader' model; .*`cals train sync`"):
        build_frozen(SyncModel, checkpoint)
    with pytest.raises(CheckpointError, match="expected a kind among audio2head, .*wav2lip, found 'reader'"):
        from_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match="found 'new'.*update cals"):
        from_checkpoint(Checkpoint(kind="new", config={}, weights={}))


def test_weights_have_to_be_there_and_finite() -> None:
    checkpoint = to_checkpoint(NETWORKS["sync"])
    first = next(iter(checkpoint.weights))
    without = {name: value for name, value in checkpoint.weights.items() if name != first}
    with pytest.raises(CheckpointError, match=f"a mismatch in {first};"):
        build_frozen(SyncModel, dataclasses.replace(checkpoint, weights=without))
    odd = without | {first: torch.full_like(checkpoint.weights[first], torch.nan)}
    with pytest.raises(CheckpointError, match="expected finite weights"):
        build_frozen(SyncModel, dataclasses.replace(checkpoint, weights=odd))


def test_every_kind_has_a_network_and_a_config_of_its_own() -> None:
    assert len({kind.network for kind in KINDS.values()}) == len({kind.config for kind in KINDS.values()}) == len(KINDS)
    lip_models = {name for name, kind in KINDS.items() if issubclass(kind.network, LipModel)}
    assert {name for name in lip_models if KINDS[name].stage != "l2f"} == {"debug"}
