"""Loading models by name or by folder."""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from cals import hub
from cals.checkpoint import Checkpoint, compute_weights_sha256, load_checkpoint
from cals.errors import CheckpointError
from cals.inference.device import convert_device_errors
from cals.inference.precision import set_precision
from cals.inference.runtime import NamedModel
from cals.models.avsr.checkpoint import avsr_from_checkpoint
from cals.models.avsr.language import NGram
from cals.models.avsr.network import AVSR
from cals.models.debug import DebugConfig, DebugLips
from cals.models.factory import from_checkpoint, load_front_end
from cals.models.lips import LipModel
from cals.models.whisper import WhisperEncoder
from cals.options import Precision


@dataclass(frozen=True)
class LoadedModel(NamedModel):
    """A model in torch, and its name in reports and provenance."""

    network: LipModel


@dataclass(frozen=True)
class LoadedRecognizer:
    """A recogniser, its language model, and its name in reports."""

    name: str
    fingerprint: str
    """First 12 hex digits of the weights' sha256."""
    network: AVSR
    language: NGram


def available_models() -> dict[str, str]:
    """Return name -> one line about it, for every registered model."""
    return {name: entry.summary for name, entry in hub.MODELS.items()}


def load_model(name_or_folder: str | Path = hub.DEFAULT_MODEL) -> LoadedModel:
    """Load a registered model, or a checkpoint folder; where both exist the name wins (`./debug` is the folder).

    Raises CheckpointError, with the nearest name, when there is neither.
    """
    folder = _find_folder("model", name_or_folder, hub.MODELS)
    return _build_debug_model() if folder is None else _load_folder(folder)


def place_model(model: LoadedModel, device: str, precision: Precision) -> None:
    """Move a model to a device, and set the precision that it renders in; ConfigError for one that is not there."""
    with convert_device_errors(device):
        model.network.to(device)
    set_precision(model.network, precision)


def _load_folder(folder: Path) -> LoadedModel:
    checkpoint = load_checkpoint(folder)
    network = from_checkpoint(checkpoint)
    _attach_front_end(network, checkpoint)
    return LoadedModel(folder.resolve().name, compute_weights_sha256(folder)[:12], network)


def load_recognizer(name_or_folder: str | Path, device: str = "cpu") -> LoadedRecognizer:
    """Load a registered recogniser, or a checkpoint folder of `cals train avsr`; where both exist the name wins.

    Raises CheckpointError, with the nearest name, when there is neither, ConfigError for a device that is not there.
    """
    folder = _find_folder("recogniser", name_or_folder, hub.RECOGNIZERS)
    assert folder is not None  # each has weights
    checkpoint = load_checkpoint(folder)
    network, language = avsr_from_checkpoint(checkpoint)
    _attach_front_end(network, checkpoint)
    with convert_device_errors(device):
        network = network.to(device)
    return LoadedRecognizer(folder.resolve().name, compute_weights_sha256(folder)[:12], network, language)


def _find_folder(kind: str, name_or_folder: str | Path, registry: Mapping[str, hub.ModelEntry]) -> Path | None:
    """Return the folder of a registered name, None for a model without one; or the folder itself.

    Raises CheckpointError, with the nearest name, when there is neither.
    """
    name, folder = str(name_or_folder), Path(name_or_folder)
    if name in registry:
        return registry[name].folder
    if folder.is_dir():
        return folder
    matches = difflib.get_close_matches(name, registry, n=1)
    raise CheckpointError(
        f"{kind}: expected a checkpoint folder or one of {', '.join(sorted(registry))}, found {name!r}"
        + (f"; did you mean {matches[0]!r}?" if matches else "")
    )


def _attach_front_end(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Load the pretrained audio front-end into a network that has one."""
    if any(isinstance(part, WhisperEncoder) for part in network.modules()):
        load_front_end(
            network,
            load_checkpoint(hub.FRONT_END_WEIGHTS),
            compute_weights_sha256(hub.FRONT_END_WEIGHTS),
            checkpoint.parents,
        )


def _build_debug_model() -> LoadedModel:
    network = DebugLips(DebugConfig()).eval()
    state = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
    return LoadedModel("debug", hashlib.sha256(state).hexdigest()[:12], network)
