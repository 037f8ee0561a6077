"""What the loop asks of a stage."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cals.checkpoint import Checkpoint
from cals.training.config import TrainConfig

Losses = dict[str, Tensor]
"""Scalars by name; `total` is what is minimised."""


class Stage(ABC):
    """One network's training: its data, its losses, its validation."""

    name: str
    train: TrainConfig
    model: nn.Module

    @abstractmethod
    def losses(self, model: nn.Module, rng: np.random.Generator, device: torch.device) -> Losses:
        """The losses of one batch, drawn with `rng`; `model` is the network as the loop wraps it."""

    @abstractmethod
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Metrics of the averaged network on held-out clips; the same clips and windows every time."""

    @abstractmethod
    def checkpoint(self, model: nn.Module, step: int, metrics: dict[str, float]) -> Checkpoint:
        """The network as later stages load it."""

    def advice(self, step: int, metrics: dict[str, float]) -> str | None:
        """A word to the user when training does not get on, with the likely reasons."""
        return None

    def picture(self, model: nn.Module, device: torch.device, path: Path) -> None:
        """Draw what the network does to `path`, where there is something to see."""
        return

    def facts(self) -> dict[str, Any]:
        """What to write into the run's log at its start."""
        return {}
