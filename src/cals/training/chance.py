"""Notices training that has not left chance, so that the loop begins anew with other weights."""

import math
from pathlib import Path

from torch import Tensor

from cals.training.stage import Stage

WINDOW = 50
"""So many steps' losses are averaged."""
MARGIN = 0.03
"""A mean loss less than this share under that of chance is still chance."""
EARLIEST = 100
"""No start is judged before this step."""


class ChanceWatch:
    """Judges a stage's start once, at `due`: the mean loss of the last `WINDOW` steps against that of chance."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.losses: list[float] = []
        """What it has seen so far; a resumed run goes on with it."""
        config = stage.train
        self.due = max(EARLIEST, round((config.warmup + config.patience) * config.steps))

    @property
    def mean(self) -> float:
        """Mean of the losses seen so far."""
        return math.fsum(self.losses) / max(1, len(self.losses))

    def note(self, loss: Tensor) -> None:
        """Take in the loss of the step that was just done."""
        if self._stage.chance_loss is not None and self.due - WINDOW < self._stage.step <= self.due:
            self.losses.append(float(loss.detach()))

    def is_stuck(self) -> bool:
        """Whether it is time to judge and nothing is learnt; a loss that is no number is none that fell."""
        chance = self._stage.chance_loss
        if chance is None or self._stage.step != self.due or not self.losses:
            return False
        return not self.mean < (1 - MARGIN) * chance

    def finding(self) -> str:
        """The loss and that of chance, in words."""
        stage, chance = self._stage, self._stage.chance_loss or 0.0
        return (
            f"{stage.name}, step {stage.step}: expected a loss well under chance, {chance:.2f}, found {self.mean:.2f} "
            f"over the last {len(self.losses)} steps"
        )

    def verdict(self, run: Path) -> str:
        """What to tell the user when no start is left."""
        return (
            f"{self.finding()}, the last of {1 + self._stage.restarts} starts. {self._stage.reasons()} "
            f"Mend that and train into a new folder; the same command goes on in {run} all the same"
        )
