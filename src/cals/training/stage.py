"""What the loop asks of a stage."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cals.checkpoint import Checkpoint
from cals.data.store import ClipStore
from cals.training.config import TrainConfig
from cals.training.optim import ParameterGroup, learnable

Losses = dict[str, Tensor]
"""Scalars by name; `total` is what is minimised."""


class Stage(ABC):
    """One network's training: its data, its losses, its validation; if it has a critic, that one's losses too."""

    name: str
    train: TrainConfig
    model: nn.Module
    critic: nn.Module | None = None
    """A second network, trained in turn with the first to judge what that generates."""
    critic_lr: float = 5e-4
    """The critic's highest learning rate (paper section 1); over time it follows the same schedule."""
    critic_from_step: int = 0
    """The critic stays as it is until this step."""
    step: int = 0
    """Steps done so far, kept by the loop: what losses change over time is a function of it."""
    restarts: int = 0
    """Times the training was begun anew, kept by the loop."""

    @property
    def seed(self) -> int:
        """Of this start."""
        return self.train.seed + self.restarts

    @property
    def chance_loss(self) -> float | None:
        """`total` of a network that tells nothing apart, where it is known; a stage that has one has `redraw` too."""
        return None

    def redraw(self) -> None:
        """Give `self.model` new weights, drawn with `self.seed`: its start was a bad one."""
        raise NotImplementedError(f"{type(self).__name__} has a chance_loss but no redraw")

    @property
    def critic_learns(self) -> bool:
        """Whether there is a critic and its time has come."""
        return self.critic is not None and self.step >= self.critic_from_step

    @abstractmethod
    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """The losses of one batch, drawn with `rng`; `model` is the network as the loop wraps it.

        Here `self.critic` is frozen: gradients pass through it but do not train it.
        """

    def critic_losses(self, critic: nn.Module) -> Losses:
        """The critic's losses on what the last call of `losses` generated, kept detached by the stage.

        `critic` is `self.critic` as the loop wraps it; called once, with real and generated pictures in one batch,
        because a network spread over devices expects one forward for each backward.
        """
        raise NotImplementedError(f"{type(self).__name__} has a critic but no critic_losses")

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """All parameters of `self.model` that are to learn, in groups of one learning rate each."""
        return [ParameterGroup(parameters=learnable(self.model))]

    @abstractmethod
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Metrics of the averaged network on held-out clips; the same clips and windows every time."""

    @abstractmethod
    def checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """The network as later stages load it."""

    def advice(self, step: int, metrics: dict[str, float]) -> str | None:
        """A word to the user when training does not get on, with the likely reasons."""
        return None

    def reasons(self) -> str:
        """What to look at when training stays at chance."""
        return ""

    def picture(self, model: nn.Module, device: torch.device, path: Path) -> None:
        """Draw what the network does to `path`, where there is something to see."""
        return

    def facts(self) -> dict[str, Any]:
        """What to write into the run's log at its start."""
        return {}


def count_clips(training: ClipStore, held_out: Mapping[str, ClipStore]) -> dict[str, Any]:
    """A run's clips in numbers, for its log."""
    parts = {part: len(store) for part, store in held_out.items()}
    return {"clips": len(training), "speakers": len(set(training.speakers)), "held_out": parts}
