"""The registry of networks: kind of checkpoint -> config, network, and the stage that trains it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from cals.checkpoint import RESAVE_HINT, Checkpoint, config_from_dict
from cals.errors import CheckpointError
from cals.models.a2l import A2L, A2LConfig
from cals.models.audio2head import Audio2Head, Audio2HeadConfig
from cals.models.avsr.config import AVSRConfig
from cals.models.avsr.network import AVSR
from cals.models.cals import MeshLips, MeshLipsConfig, UNetLips, UNetLipsConfig
from cals.models.debug import DebugConfig, DebugLips
from cals.models.lips import LipModel
from cals.models.pcavs import PCAVS, PCAVSConfig
from cals.models.reader import LipReader, ReaderConfig
from cals.models.sync import SyncConfig, SyncModel
from cals.models.synctalk import SyncTalkFace, SyncTalkFaceConfig
from cals.models.wav2lip import Wav2Lip, Wav2LipConfig
from cals.models.whisper import KIND, WhisperConfig, WhisperEncoder

Network = TypeVar("Network", bound=nn.Module)
FRONT_PARENT = "front"
"""Name of the phonetic front-end among a checkpoint's parents."""


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint: its config and its network, and the stage of `cals train` that writes it."""

    title: str
    config: type[Any]
    network: type[nn.Module]
    stage: str | None


KINDS: dict[str, Kind] = {
    "a2l": Kind("an Audio-to-Lip", A2LConfig, A2L, "a2l"),
    "audio2head": Kind("Audio2Head", Audio2HeadConfig, Audio2Head, "l2f"),
    "avsr": Kind("a recogniser", AVSRConfig, AVSR, "avsr"),
    "debug": Kind("a network of random weights", DebugConfig, DebugLips, None),
    "mesh": Kind("CALS with a mesh", MeshLipsConfig, MeshLips, "l2f"),
    "pcavs": Kind("PC-AVS", PCAVSConfig, PCAVS, "l2f"),
    "reader": Kind("a lip reader", ReaderConfig, LipReader, "reader"),
    "sync": Kind("sync encoders", SyncConfig, SyncModel, "sync"),
    "synctalkface": Kind("SyncTalkFace", SyncTalkFaceConfig, SyncTalkFace, "l2f"),
    "unet": Kind("CALS with a U-Net", UNetLipsConfig, UNetLips, "l2f"),
    "wav2lip": Kind("Wav2Lip", Wav2LipConfig, Wav2Lip, "l2f"),
}
"""All kinds of networks that are trained here; a new one takes a line."""


def find_kind(network: type[nn.Module]) -> str:
    """Return the name of a network's kind."""
    return next(name for name, kind in KINDS.items() if kind.network is network)


def to_checkpoint(network: nn.Module, **facts: Any) -> Checkpoint:
    """Pack a network's weights and config into a checkpoint; `facts` are its step, parents and metrics."""
    config = dataclasses.asdict(network.config)  # type: ignore[call-overload]
    return Checkpoint(kind=find_kind(type(network)), config=config, weights=network.state_dict(), **facts)


def from_checkpoint(checkpoint: Checkpoint) -> LipModel:
    """Build the lip model of a checkpoint, in evaluation mode; strict: every weight must be present and fit."""
    lip_models = [name for name, kind in KINDS.items() if issubclass(kind.network, LipModel)]
    if checkpoint.kind not in lip_models:
        raise CheckpointError(
            f"checkpoint: expected a kind among {', '.join(sorted(lip_models))}, found {checkpoint.kind!r}; "
            "name a lip model's checkpoint, or update cals if a newer version wrote it"
        )
    model = _build_network(checkpoint)
    assert isinstance(model, LipModel)
    return model


def build_frozen(network: type[Network], checkpoint: Checkpoint) -> Network:
    """Build the network of a checkpoint that has to be of this type, without gradients; as strict as for lip models."""
    name = find_kind(network)
    if checkpoint.kind != name:
        raise CheckpointError(
            f"checkpoint: expected {KINDS[name].title}, found a {checkpoint.kind!r} model; name what "
            f"`cals train {KINDS[name].stage}` wrote"
        )
    model = _build_network(checkpoint).requires_grad_(False)
    assert isinstance(model, network)
    return model


def _build_network(checkpoint: Checkpoint) -> nn.Module:
    """Build a network with the weights of its checkpoint, in evaluation mode."""
    kind = KINDS[checkpoint.kind]
    model = kind.network(config_from_dict(kind.config, checkpoint.config))
    expected = model.state_dict()
    wrong = sorted(expected.keys() ^ checkpoint.weights.keys()) or [
        name for name in expected if expected[name].shape != checkpoint.weights[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"checkpoint: expected the weights of a {checkpoint.kind!r} model, found a mismatch in {', '.join(wrong)}; "
            f"{RESAVE_HINT}, weights and config together, or train it anew if an older version wrote it"
        )
    model.load_state_dict(checkpoint.weights)
    if not all(bool(torch.isfinite(value).all()) for value in expected.values() if value.is_floating_point()):
        raise CheckpointError(
            "checkpoint: expected finite weights, found NaN or infinity; save it from an earlier step"
        )
    return model.eval()


def load_front_end(network: nn.Module, front: Checkpoint, sha256: str, parents: Mapping[str, str]) -> None:
    """Load the weights of the phonetic front-ends in `network`, which its own checkpoint does not hold.

    `sha256` is that of the weights of `front`. `parents`, those of the network's checkpoint, name the front-end that it
    was trained with (older ones do not). Raises CheckpointError when that was another, or `front` does not fit.
    """
    if front.kind != KIND:
        raise CheckpointError(f"front-end: expected a {KIND!r} checkpoint, found a {front.kind!r} one; {RESAVE_HINT}")
    trained_with = parents.get(FRONT_PARENT, sha256)
    if trained_with != sha256:
        raise CheckpointError(
            f"front-end: expected the weights that the model was trained with, sha256 {trained_with}, found {sha256}; "
            "use the version of cals that trained the model, or train it anew"
        )
    config = config_from_dict(WhisperConfig, front.config)
    for module in network.modules():
        if isinstance(module, WhisperEncoder):
            if module.config != config:
                raise CheckpointError(f"front-end: expected {module.config}, found {config}; train the model anew")
            module.load_weights(front.weights)
