"""Learning rate over time, and averaged weights."""

import copy
import math

import torch
from torch import nn

from cals.training.config import TrainConfig

LAST_LR = 0.05
"""Share of the learning rate that is left at the end of the schedule, and stays."""


def lr_share(step: int, config: TrainConfig) -> float:
    """The learning rate at `step` as a share of `config.lr`."""
    rising = max(1, round(config.warmup * config.steps))
    if step < rising:
        return (step + 1) / rising
    done = min(1.0, (step - rising) / max(1, config.steps - rising))
    return LAST_LR + (1 - LAST_LR) * (1 + math.cos(math.pi * done)) / 2


class Averaged:
    """An exponential moving average of a module's weights; buffers are copied."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after `step`; early on the average follows quickly."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for own, new in zip(self.module.parameters(), module.parameters(), strict=True):
            own.lerp_(new.detach().to(own.dtype), 1 - decay)
        for held, current in zip(self.module.buffers(), module.buffers(), strict=True):
            held.copy_(current)
