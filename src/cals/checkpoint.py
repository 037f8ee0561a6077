"""A checkpoint is a directory: `model.safetensors` and `config.json`, written whole or not at all."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cals.errors import CheckpointError, ConfigError
from cals.files import why

T = TypeVar("T")

FORMAT = 1
WEIGHTS = "model.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint directory holds."""

    kind: str
    """Which model it is, as `models.factory` names them."""
    config: dict[str, Any]
    """The model's config, timing and preprocessing included, as nested plain values."""
    weights: dict[str, Tensor] = field(repr=False)
    parents: dict[str, str] = field(default_factory=dict)
    """Part name -> sha256 of the weights it was trained against."""
    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write to a temporary directory beside `folder`, then rename; an existing checkpoint is replaced whole.

    Raises CheckpointError when `folder` exists and is not a checkpoint, or cannot be written.
    """
    if folder.exists() and not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder}: expected a new folder or a checkpoint to replace, found something else")
    document = {"format": FORMAT} | {
        f.name: getattr(checkpoint, f.name) for f in dataclasses.fields(checkpoint) if f.name != "weights"
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            save_file({name: value.contiguous() for name, value in checkpoint.weights.items()}, temporary / WEIGHTS)
            (temporary / CONFIG).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            for path in (temporary / WEIGHTS, temporary / CONFIG):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            temporary.chmod(0o755)
            if folder.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
                folder.replace(old)
                temporary.replace(folder)
                shutil.rmtree(old)
            else:
                temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: expected to write a checkpoint, found {why(error)}") from error


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read and check a checkpoint directory; raises CheckpointError for anything missing, damaged or newer."""
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder}: expected a checkpoint folder with {CONFIG} and {WEIGHTS}, found none")
    try:
        document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except (ValueError, SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder}: expected a whole checkpoint, found {error}") from error
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise CheckpointError(f"{folder / CONFIG}: expected format {FORMAT}; this version of cals cannot read it")
    try:
        return Checkpoint(weights=weights, **document)
    except TypeError as error:
        raise CheckpointError(f"{folder / CONFIG}: expected the fields of a checkpoint, found {error}") from error


def weights_sha256(folder: Path) -> str:
    """Checksum of a checkpoint's weights, by which other parts refer to it."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """A (nested) config dataclass from plain values; an unknown or invalid field is a CheckpointError."""
    hints = {f.name: f.type for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise CheckpointError(f"{cls.__name__}: expected only {sorted(hints)}, found {unknown}")
    made = {}
    for name, value in values.items():
        nested = hints[name]
        made[name] = (
            config_from_dict(nested, value) if isinstance(nested, type) and dataclasses.is_dataclass(nested) else value
        )
    try:
        return cls(**made)
    except (TypeError, ConfigError) as error:
        raise CheckpointError(f"{cls.__name__}: {error}") from error
