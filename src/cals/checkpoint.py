"""Checkpoints: directories of `model.safetensors` and `config.json`, written atomically."""

import dataclasses
import hashlib
import json
import math
import reprlib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from cals.arrays import Array
from cals.errors import CheckpointError, ConfigError
from cals.files import describe_os_error, get_backup_folder, replace_folder_atomically

if TYPE_CHECKING:
    pass

T = TypeVar("T")

FORMAT = 1
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
RESAVE_HINT = "copy or save the checkpoint anew"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The contents of a checkpoint directory."""

    kind: str
    """Kind of model, one of the names in `models.factory`."""
    config: dict[str, Any]
    """The model's config, timing and preprocessing included, as nested plain values."""
    weights: dict[str, Array] = field(repr=False)
    parents: dict[str, str] = field(default_factory=dict)
    """Part name -> sha256 of the weights it was trained against."""
    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically; an existing one is replaced.

    Raises CheckpointError when `folder` exists and is not a checkpoint, or cannot be written.
    """
    if folder.exists() and not (folder / CONFIG).is_file():
        raise CheckpointError(
            f"{folder}: expected a new folder or a checkpoint to replace, found something else; name another folder"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder_atomically(folder) as partial:
            write_checkpoint(partial, checkpoint)
    except (OSError, SafetensorError) as error:
        found = describe_os_error(error) if isinstance(error, OSError) else error
        raise CheckpointError(
            f"{folder}: expected to write a checkpoint, found {found}; free some space, or name another folder"
        ) from error


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write weights and config into a folder that no other process reads yet; raises OSError or SafetensorError."""
    from safetensors.torch import save_file

    document = {"format": FORMAT} | {
        f.name: getattr(checkpoint, f.name) for f in dataclasses.fields(checkpoint) if f.name != "weights"
    }
    save_file({name: value.contiguous() for name, value in checkpoint.weights.items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes it readable for the owner alone
    (folder / CONFIG).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read and check a checkpoint directory; raises CheckpointError for anything missing, damaged or newer."""
    from safetensors.torch import load_file

    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        older = get_backup_folder(folder)
        advice = (
            f"a save was cut short: rename {older.name} to {folder.name}" if older.is_dir() else "name another folder"
        )
        raise CheckpointError(
            f"{folder}: expected a checkpoint folder with {CONFIG} and {WEIGHTS}, found none; {advice}"
        )
    try:
        document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except (ValueError, SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder}: expected a whole checkpoint, found {error}; {RESAVE_HINT}") from error
    found = document.pop("format", None) if isinstance(document, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{folder / CONFIG}: expected format {FORMAT}, found {found!r}, which this version of cals cannot read; "
            "use the version that wrote it, or save it again"
        )
    try:
        hints = typing.get_type_hints(Checkpoint)
        fields = {name: _convert_field(hints.get(name, Any), value, name) for name, value in document.items()}
        return Checkpoint(weights=weights, **fields)
    except (TypeError, CheckpointError) as error:
        raise CheckpointError(
            f"{folder / CONFIG}: expected the fields of a checkpoint, found {error}; {RESAVE_HINT}"
        ) from error


def compute_weights_sha256(folder: Path) -> str:
    """Compute the checksum by which other checkpoints refer to these weights; CheckpointError when there are none."""
    try:
        with (folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{folder}: expected a checkpoint folder with {WEIGHTS}, found {describe_os_error(error)}; name "
            "another folder"
        ) from error


def config_from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """Build a (nested) config dataclass from plain values.

    Lists become the tuples they were before JSON. Raises CheckpointError that names a field that is unknown, of a wrong
    type or out of range.
    """
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{cls.__name__}: expected fields with values, found {reprlib.repr(values)}; {RESAVE_HINT}"
        )
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise CheckpointError(
            f"{cls.__name__}: expected only {', '.join(names)}, found {', '.join(unknown)}; "
            "use the version of cals that wrote it"
        )
    fields = {name: _convert_field(hints[name], value, f"{cls.__name__}.{name}") for name, value in values.items()}
    for name, value in fields.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise CheckpointError(f"{cls.__name__}.{name}: expected a finite number, found {value}; {RESAVE_HINT}")
    try:
        return cls(**fields)
    except (TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{cls.__name__}: expected a config that can be used, found {error}; {RESAVE_HINT}"
        ) from error


def _convert_field(hint: Any, value: Any, name: str) -> Any:
    """Convert a value from JSON to the type of its field; CheckpointError that names the field if it does not fit."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return config_from_dict(hint, value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            try:
                return _convert_field(choice, value, name)
            except CheckpointError:
                continue
    elif origin is tuple and isinstance(value, list | tuple):
        hints = arguments[:1] * len(value) if arguments[1:] == (Ellipsis,) else arguments
        if len(hints) == len(value):
            return tuple(_convert_field(item_hint, item, name) for item_hint, item in zip(hints, value, strict=True))
    elif origin is dict and isinstance(value, dict):
        return {key: _convert_field(arguments[1], item, f"{name}[{key!r}]") for key, item in value.items()}
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass  # an integer with hundreds of digits
    elif (origin is typing.Literal and value in arguments) or _is_instance(hint, value):
        return value
    expected = hint.__name__ if isinstance(hint, type) else hint
    raise CheckpointError(f"{name}: expected {expected}, found {reprlib.repr(value)}; {RESAVE_HINT}")


def _is_instance(hint: Any, value: Any) -> bool:
    if hint is Any:
        return True
    return isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
