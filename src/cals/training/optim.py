"""Learning rate schedule, parameter groups, and averaged weights."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import AdamW

from cals.errors import ConfigError
from cals.training.config import TrainConfig

FINAL_LR_SHARE = 0.05
"""Learning rate at and after the end of the schedule, as a share of the peak."""


def compute_lr_share(step: int, config: TrainConfig) -> float:
    """Compute the learning rate at `step` as a share of `config.lr`."""
    warmup_steps = max(1, round(config.warmup * config.steps))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, config.steps - warmup_steps))
    return FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    parameters: Sequence[nn.Parameter]
    lr_share: float = 1.0
    """Their learning rate as a share of the others'."""
    from_step: int = 0
    """They are frozen until this step."""


def list_trainable(module: nn.Module) -> list[nn.Parameter]:
    """List the parameters that are not frozen."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def build_adamw(module: nn.Module, groups: Sequence[ParameterGroup], lr: float, config: TrainConfig) -> AdamW:
    """Build AdamW over `groups`, with `lr` as the peak learning rate.

    Raises ConfigError unless each trainable parameter is in just one of them.
    """
    grouped = [id(parameter) for group in groups for parameter in group.parameters]
    trainable = [id(parameter) for parameter in list_trainable(module)]
    if sorted(grouped) != sorted(trainable):
        raise ConfigError(
            f"training: expected every parameter of the {type(module).__name__} in just one group, found "
            f"{len(grouped)} in groups and {len(trainable)} to learn in the network"
        )
    return AdamW(
        [
            {"params": list(group.parameters), "lr_share": group.lr_share, "from_step": group.from_step}
            for group in groups
        ],
        lr=lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )


def set_learning_rates(optimizer: AdamW, step: int, config: TrainConfig) -> None:
    """Set each group's learning rate at `step`; 0 before its first step."""
    for group in optimizer.param_groups:
        is_waiting = step < group["from_step"]
        group["lr"] = (
            0.0 if is_waiting else optimizer.defaults["lr"] * compute_lr_share(step, config) * group["lr_share"]
        )


class ExponentialMovingAverage:
    """An exponential moving average of a module's weights; buffers are copied."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Update the average with the weights after `step`; the decay is smaller in early steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for average, new in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(new.detach().to(average.dtype), 1 - decay)
        for buffer, current in zip(self.module.buffers(), module.buffers(), strict=True):
            buffer.copy_(current)
