"""Which of a person's own frames lends its mouth to which: near to what is said, and steady over time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SourceCosts:
    """What speaks against a source, in squared distances of motion (two frames drawn by lot are about 32 apart)."""

    pose: float = 60.0
    """Of a squared difference of the heads' turns, summed over the rotation matrix."""
    light: float = 20.0
    """Of a squared difference of mean colour in 0..1."""
    jump: float = 3.0
    """Of going over to a frame that neither is the one before nor its neighbour in time."""
    own: float = 1e3
    """Of a frame near in time to the one drawn: it shows its own mouth."""


def choose_sources(costs: F64, neighbours: NDArray[np.bool_], jump: float, before: int | None) -> list[int]:
    """The cheapest way through `costs` [t n], one source a step; `before` is the one that came before the first.

    Staying costs nothing, nor does going on to a neighbour; `neighbours` [n - 1] says of which sources the next one in
    the list is one. Anything else costs `jump`. (Dynamic programming, linear in n.)
    """
    steps, count = costs.shape
    ahead = np.zeros((steps, count))
    for t in range(steps - 2, -1, -1):
        ahead[t] = _arrive(costs[t + 1] + ahead[t + 1], neighbours, jump)
    path: list[int] = []
    for t in range(steps):
        total = costs[t] + ahead[t]
        if before is not None:
            away = np.full(count, jump)
            away[before] = 0
            if before > 0 and neighbours[before - 1]:
                away[before - 1] = 0
            if before + 1 < count and neighbours[before]:
                away[before + 1] = 0
            total = total + away
        before = int(total.argmin())
        path.append(before)
    return path


def _arrive(total: F64, neighbours: NDArray[np.bool_], jump: float) -> F64:
    """From each source the cost of the cheapest next step, when being there costs `total` [n]."""
    best = np.minimum(total, total.min() + jump)
    best[:-1] = np.where(neighbours, np.minimum(best[:-1], total[1:]), best[:-1])
    best[1:] = np.where(neighbours, np.minimum(best[1:], total[:-1]), best[1:])
    return best
