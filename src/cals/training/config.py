"""Settings of the training loop, for every stage."""

from dataclasses import dataclass
from typing import Literal

from cals.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The loop's settings; a stage's own are in its stage config."""

    steps: int = 20_000
    """Optimiser steps, the length of the learning rate schedule."""
    lr: float = 1e-4
    warmup: float = 0.08
    """Share of the steps with a linear warm-up of the learning rate; a half cosine then decays to a twentieth."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip_norm: float = 10.0
    accumulate: int = 1
    """Batches whose gradients are accumulated in one step."""
    ema: float = 0.999
    """Decay of the exponential moving average of the weights, which is validated and saved; 0 for none."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """bf16-mixed falls back to 32-true on processors where it is slow."""
    seed: int = 0
    patience: float = 0.12
    """Share of the steps, counted from the end of warm-up, after which a loss at chance counts as a failed start."""
    restarts: int = 2
    """How often a failed start is restarted from another seed."""
    log_every: int = 20
    validate_every: int = 500
    checkpoint_every_s: float = 120.0

    def __post_init__(self) -> None:
        if min(self.steps, self.accumulate, self.log_every, self.validate_every) < 1 or self.lr <= 0:
            raise ConfigError(f"training: expected positive steps, lr and intervals, found {self}")
        if not (0 <= self.warmup < 1 and 0 <= self.ema < 1):
            raise ConfigError(f"training: expected warmup and ema in 0..1, found {self.warmup} and {self.ema}")
        if min(self.patience, self.restarts) < 0:
            raise ConfigError(
                f"training: expected patience and restarts from 0 up, found {self.patience} and {self.restarts}"
            )
