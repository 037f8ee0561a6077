"""The registry of lip models: kind -> config and network."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from cals.checkpoint import RESAVE_HINT, Checkpoint, config_from_dict
from cals.errors import CheckpointError
from cals.models.audio2head import Audio2Head, Audio2HeadConfig
from cals.models.cals import MeshLips, MeshLipsConfig, UNetLips, UNetLipsConfig
from cals.models.debug import DebugConfig, DebugLips
from cals.models.lips import LipConfig, LipModel
from cals.models.pcavs import PCAVS, PCAVSConfig
from cals.models.synctalk import SyncTalkFace, SyncTalkFaceConfig
from cals.models.wav2lip import Wav2Lip, Wav2LipConfig
from cals.models.whisper import KIND, WhisperConfig, WhisperEncoder

FRONT_PARENT = "front"
"""Name of the phonetic front-end among a checkpoint's parents."""
KINDS: dict[str, tuple[type[LipConfig], Callable[[Any], LipModel]]] = {
    "audio2head": (Audio2HeadConfig, Audio2Head),
    "debug": (DebugConfig, DebugLips),
    "mesh": (MeshLipsConfig, MeshLips),
    "pcavs": (PCAVSConfig, PCAVS),
    "synctalkface": (SyncTalkFaceConfig, SyncTalkFace),
    "unet": (UNetLipsConfig, UNetLips),
    "wav2lip": (Wav2LipConfig, Wav2Lip),
}


def to_checkpoint(model: LipModel, **facts: Any) -> Checkpoint:
    """Pack a model's weights and config into a checkpoint; `facts` are its step, parents and metrics."""
    kind = next(name for name, (_, cls) in KINDS.items() if type(model) is cls)
    return Checkpoint(kind=kind, config=dataclasses.asdict(model.config), weights=model.state_dict(), **facts)


def from_checkpoint(checkpoint: Checkpoint) -> LipModel:
    """Build the model of a checkpoint, in evaluation mode; strict: every weight must be present and fit."""
    if checkpoint.kind not in KINDS:
        raise CheckpointError(
            f"checkpoint: expected a kind among {', '.join(sorted(KINDS))}, found {checkpoint.kind!r}; "
            "name a lip model's checkpoint, or update cals if a newer version wrote it"
        )
    config_cls, model_cls = KINDS[checkpoint.kind]
    model = model_cls(config_from_dict(config_cls, checkpoint.config))
    expected = model.state_dict()
    wrong = sorted(expected.keys() ^ checkpoint.weights.keys()) or [
        name for name in expected if expected[name].shape != checkpoint.weights[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"checkpoint: expected the weights of a {checkpoint.kind!r} model, found a mismatch in {', '.join(wrong)}; "
            f"{RESAVE_HINT}, weights and config together"
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
