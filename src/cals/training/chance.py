"""Detection of training that stays at chance, so that the loop restarts it with other weights."""

import math
from pathlib import Path

from torch import Tensor

from cals.training.stage import Stage

WINDOW = 50
"""Number of steps whose losses are averaged."""
MARGIN = 0.03
"""A mean loss counts as chance unless it is lower by this share."""
MIN_STEP = 100
"""The first step at which a start may be checked."""


class ChanceMonitor:
    """A single check of a start, at step `due_step`: mean loss of the last `WINDOW` steps against that of chance."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.losses: list[float] = []
        """Losses recorded so far; part of the training state."""
        config = stage.train
        self.due_step = max(MIN_STEP, round((config.warmup + config.patience) * config.steps))

    @property
    def mean(self) -> float:
        """Mean of the recorded losses."""
        return math.fsum(self.losses) / max(1, len(self.losses))

    def record(self, loss: Tensor) -> None:
        """Record the loss of the last step."""
        if self._stage.chance_loss is not None and self.due_step - WINDOW < self._stage.step <= self.due_step:
            self.losses.append(float(loss.detach()))

    def is_stuck(self) -> bool:
        """Return whether this is step `due_step` and the loss is at chance; a NaN counts as chance."""
        chance = self._stage.chance_loss
        if chance is None or self._stage.step != self.due_step or not self.losses:
            return False
        return not self.mean < (1 - MARGIN) * chance

    def describe(self) -> str:
        """Describe the loss and that of chance."""
        stage, chance = self._stage, self._stage.chance_loss or 0.0
        return (
            f"{stage.name}, step {stage.step}: expected a loss well under chance, {chance:.2f}, found {self.mean:.2f} "
            f"over the last {len(self.losses)} steps"
        )

    def describe_failure(self, run: Path) -> str:
        """Return the error message for when no restart is left."""
        return (
            f"{self.describe()}, the last of {1 + self._stage.restarts} starts. {self._stage.explain_chance()} "
            f"Mend that and train into a new folder; the same command goes on in {run} all the same"
        )
