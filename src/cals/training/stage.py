"""The interface between the training loop and a stage."""

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
from cals.training.optim import ParameterGroup, list_trainable

Losses = dict[str, Tensor]
"""Scalars by name; `total` is minimised."""


class Stage(ABC):
    """The training of one network: data, losses and validation; with a discriminator, its losses too."""

    name: str
    train: TrainConfig
    model: nn.Module
    discriminator: nn.Module | None = None
    """The discriminator, trained in turn with the network on what it generates."""
    discriminator_lr: float = 5e-4
    """The discriminator's peak learning rate (paper section 1); it follows the same schedule."""
    discriminator_from_step: int = 0
    """The discriminator is frozen until this step."""
    step: int = 0
    """Number of finished steps, set by the loop; loss schedules depend on it."""
    restarts: int = 0
    """How often training was restarted, set by the loop."""

    @property
    def seed(self) -> int:
        """Seed of the current start."""
        return self.train.seed + self.restarts

    @property
    def chance_loss(self) -> float | None:
        """`total` of a network at chance level, where known; a stage that has one implements `reset_weights` too."""
        return None

    def reset_weights(self) -> None:
        """Initialise `self.model` anew with `self.seed`, after a failed start."""
        raise NotImplementedError(f"{type(self).__name__} has a chance_loss but no redraw")

    @property
    def is_discriminator_trained(self) -> bool:
        """Whether the discriminator is trained at this step."""
        return self.discriminator is not None and self.step >= self.discriminator_from_step

    @abstractmethod
    def compute_losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """Compute the losses of one batch, sampled with `rng`; `model` is the network as the loop wraps it.

        The discriminator is frozen here: gradients pass through it but do not train it.
        """

    def compute_discriminator_losses(self, discriminator: nn.Module) -> Losses:
        """Compute the discriminator's losses on the detached output of the last call of `compute_losses`.

        `discriminator` is the stage's own as the loop wraps it. It must be called once, with real and generated images
        in one batch, because DDP expects one forward for each backward.
        """
        raise NotImplementedError(f"{type(self).__name__} has a discriminator but no compute_discriminator_losses")

    def build_parameter_groups(self) -> Sequence[ParameterGroup]:
        """Return all trainable parameters of `self.model`, in groups of one learning rate each."""
        return [ParameterGroup(parameters=list_trainable(self.model))]

    @abstractmethod
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Compute metrics of the averaged network on held-out clips; the same clips and windows every time."""

    @abstractmethod
    def build_checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Pack the network into the checkpoint that later stages load."""

    def build_advice(self, step: int, metrics: dict[str, float]) -> str | None:
        """Return a hint to the user, with likely reasons, when training makes no progress."""
        return None

    def explain_chance(self) -> str:
        """Return the likely reasons when training stays at chance."""
        return ""

    def write_sheet(self, model: nn.Module, device: torch.device, path: Path) -> None:
        """Write an image of the network's output to `path`, if the stage has one."""
        return

    def describe_run(self) -> dict[str, Any]:
        """Return what is logged at the start of a run."""
        return {}


def count_clips(training: ClipStore, held_out: Mapping[str, ClipStore]) -> dict[str, Any]:
    """Count a run's clips and speakers, for its log."""
    parts = {part: len(store) for part, store in held_out.items()}
    return {"clips": len(training), "speakers": len(set(training.speakers)), "held_out": parts}
