"""The training state that a run resumes from, in files small enough to be copied easily."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn, optim

from cals.errors import CheckpointError
from cals.files import replace_folder_atomically

PIECE_BYTES = 15 << 20
STATE_FILE = "state.json"


@dataclass(frozen=True)
class TrainingState:
    """Networks and optimisers, by the names of their tensors in the state."""

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, optim.Optimizer]

    def to_tensors(self) -> dict[str, Tensor]:
        """Copy all tensors to the CPU, under flat names."""
        tensors: dict[str, Tensor] = {}
        for part, module in self.modules.items():
            tensors |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
        for part, optimizer in self.optimizers.items():
            for number, slots in optimizer.state_dict()["state"].items():
                tensors |= {f"{part}.{number}.{slot}": torch.as_tensor(value) for slot, value in slots.items()}
        return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}

    def reset(self) -> None:
        """Reset all but the model's weights: optimiser states are cleared and the average becomes those weights."""
        self.modules["average"].load_state_dict(self.modules["model"].state_dict())
        for optimizer in self.optimizers.values():
            optimizer.state.clear()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the output of `tensors`; strict: CheckpointError unless all parts are present and fit."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = value
        # An optimiser without a step so far has no tensors.
        if not self.modules.keys() <= parts.keys() <= self.modules.keys() | self.optimizers.keys():
            raise CheckpointError(
                f"state: expected the parts {', '.join([*self.modules, *self.optimizers])}, "
                f"found {', '.join(sorted(parts))}; "
                "it is of another preset: name another run directory"
            )
        for part, module in self.modules.items():
            try:
                module.load_state_dict(parts[part])
            except RuntimeError as error:
                raise CheckpointError(
                    f"state: expected the {part}'s weights of this preset, found others ({error})"
                ) from error
        for part, optimizer in self.optimizers.items():
            _restore_optimizer(part, optimizer, parts.get(part, {}))


def _restore_optimizer(part: str, optimizer: optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the optimiser's state of each parameter; learning rates and groups stay those of the stage."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, slot = name.partition(".")
        place = int(number)
        if place >= len(parameters) or (value.ndim > 0 and value.shape != parameters[place].shape):
            raise CheckpointError(
                f"state: expected the {part}'s tensors for {len(parameters)} parameters in the groups of this preset, "
                f"found {name} of shape {tuple(value.shape)}; it is of another preset: name another run directory"
            )
        slots.setdefault(place, {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def save_state(folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write the state atomically; an older one is replaced."""
    pieces: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        if pieces[-1] and size + value.nbytes > PIECE_BYTES:
            pieces.append({})
            size = 0
        pieces[-1][name] = value
        size += value.nbytes
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder_atomically(folder) as partial:
        for number, piece in enumerate(pieces):
            save_file(piece, partial / f"state-{number:03d}.safetensors")
        (partial / STATE_FILE).write_text(json.dumps(facts | {"pieces": len(pieces)}), encoding="utf-8")


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load what `save_state` wrote; CheckpointError when a file is missing or damaged."""
    try:
        facts = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        tensors: dict[str, Tensor] = {}
        for number in range(facts["pieces"]):
            tensors |= load_file(folder / f"state-{number:03d}.safetensors")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: expected a whole training state, found {error}") from error
    return tensors, facts
