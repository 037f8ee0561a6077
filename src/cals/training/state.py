"""Everything training needs to go on, in pieces small enough to be carried about."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn, optim

from cals.errors import CheckpointError

PIECE_BYTES = 15 << 20
FACTS = "state.json"


def flatten(model: nn.Module, average: nn.Module, optimizer: optim.Optimizer) -> dict[str, Tensor]:
    """All tensors of the training state under flat names."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for number, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{slot}": torch.as_tensor(value) for slot, value in slots.items()}
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def restore(tensors: dict[str, Tensor], model: nn.Module, average: nn.Module, optimizer: optim.Optimizer) -> None:
    """The opposite of `flatten`; strict."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    try:
        model.load_state_dict(parts["model"])
        average.load_state_dict(parts["average"])
    except RuntimeError as error:
        raise CheckpointError(f"state: expected the weights of this preset, found others ({error})") from error
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        number, _, slot = name.partition(".")
        slots.setdefault(int(number), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def save_state(folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write beside `folder`, then swap."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        pieces: list[dict[str, Tensor]] = [{}]
        size = 0
        for name, value in tensors.items():
            if pieces[-1] and size + value.nbytes > PIECE_BYTES:
                pieces.append({})
                size = 0
            pieces[-1][name] = value
            size += value.nbytes
        for number, piece in enumerate(pieces):
            save_file(piece, temporary / f"state-{number:03d}.safetensors")
        (temporary / FACTS).write_text(json.dumps(facts | {"pieces": len(pieces)}), encoding="utf-8")
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.replace(old)
        temporary.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_state` wrote; CheckpointError when a piece is missing or damaged."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tensors: dict[str, Tensor] = {}
        for number in range(facts["pieces"]):
            tensors |= load_file(folder / f"state-{number:03d}.safetensors")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: expected a whole training state, found {error}") from error
    return tensors, facts
