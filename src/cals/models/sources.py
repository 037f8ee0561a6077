"""Choice of source frames: which frame of the person supplies the mouth of each output frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SourceCosts:
    """Costs of a source, as squared distances of motion (the distance of two random frames is about 32)."""

    appearance: float = 64.0
    """Weight of the squared difference in the mouth's appearance (that of two random frames is about 2)."""
    stretch: float = 100.0
    """Cost of a mouth that has to be opened so far that its inside is stretched or drawn."""
    pose: float = 60.0
    """Weight of the squared difference in head rotation, summed over the rotation matrix."""
    light: float = 20.0
    """Weight of the squared difference in mean colour, in 0..1."""
    jump: float = 30.0
    """Cost of switching to a frame that is neither the previous source nor its neighbour in time."""
    own_mouth: float = 1e3
    """Cost of a frame near in time to the output frame: it shows that frame's own mouth."""


MOTION_ONLY = SourceCosts(appearance=0.0, jump=3.0)
"""Costs for a model that predicts no appearance: all differences together are smaller then."""


def choose_sources(costs: F64, neighbours: NDArray[np.bool_], jump: float, before: int | None) -> list[int]:
    """Find the cheapest path through `costs` [t n], one source per step; `before` is the source of the step before.

    Staying at a source or moving to its neighbour in time is free; any other change costs `jump`. `neighbours` [n - 1]
    marks the sources whose successor in the list is their neighbour. Dynamic programming, linear in n.
    """
    steps, count = costs.shape
    cost_to_go = np.zeros((steps, count))
    for t in range(steps - 2, -1, -1):
        cost_to_go[t] = _compute_step_costs(costs[t + 1] + cost_to_go[t + 1], neighbours, jump)
    path: list[int] = []
    for t in range(steps):
        total = costs[t] + cost_to_go[t]
        if before is not None:
            transition = np.full(count, jump)
            transition[before] = 0
            if before > 0 and neighbours[before - 1]:
                transition[before - 1] = 0
            if before + 1 < count and neighbours[before]:
                transition[before + 1] = 0
            total = total + transition
        before = int(total.argmin())
        path.append(before)
    return path


def _compute_step_costs(total: F64, neighbours: NDArray[np.bool_], jump: float) -> F64:
    """Compute the cost of the cheapest next step from each source; `total` [n] is the cost at each destination."""
    best = np.minimum(total, total.min() + jump)
    best[:-1] = np.where(neighbours, np.minimum(best[:-1], total[1:]), best[:-1])
    best[1:] = np.where(neighbours, np.minimum(best[1:], total[:-1]), best[1:])
    return best
