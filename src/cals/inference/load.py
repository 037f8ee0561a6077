"""A model by name or by folder."""

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cals import hub
from cals.checkpoint import load_checkpoint, weights_sha256
from cals.errors import CheckpointError
from cals.models.debug import DebugConfig, DebugLips
from cals.models.factory import from_checkpoint
from cals.models.lips import LipModel


@dataclass(frozen=True)
class LoadedModel:
    """A model and what to call it in reports and provenance."""

    name: str
    fingerprint: str
    """First 12 hex digits of the weights' sha256."""
    network: LipModel


def available_models() -> dict[str, str]:
    """Name -> one line on it, for every model that can be asked for by name."""
    return dict(hub.MODELS)


def load_model(name_or_folder: str | Path = hub.DEFAULT_MODEL) -> LoadedModel:
    """A registered model, or any checkpoint folder; where both exist the name wins (write `./debug` for the folder).

    Raises CheckpointError, with the nearest name, when there is neither.
    """
    folder = Path(name_or_folder)
    if str(name_or_folder) not in hub.MODELS and folder.is_dir():
        network = from_checkpoint(load_checkpoint(folder))
        return LoadedModel(folder.resolve().name, weights_sha256(folder)[:12], network)
    if str(name_or_folder) == "debug":
        network = DebugLips(DebugConfig()).eval()
        state = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
        return LoadedModel("debug", hashlib.sha256(state).hexdigest()[:12], network)
    near = difflib.get_close_matches(str(name_or_folder), hub.MODELS, n=1)
    raise CheckpointError(
        f"model: expected a checkpoint folder or one of {', '.join(sorted(hub.MODELS))}, found {str(name_or_folder)!r}"
        + (f"; did you mean {near[0]!r}?" if near else "")
    )
