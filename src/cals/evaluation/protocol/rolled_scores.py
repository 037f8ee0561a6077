"""Scores of a mouth driven by the clip's own rolled sound, against the real mouth that belongs to that sound."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cals.evaluation.protocol.observed import Observed
from cals.evaluation.scores import sharpness
from cals.metrics.closures import Interval, closed_share
from cals.metrics.flicker import flicker
from cals.metrics.motion import correlation, jitter, leak, span


def meant_frames(real: Observed) -> NDArray[np.int64]:
    """Return the index [t] of the real frame that belongs to the sound; -1 where either frame has no face."""
    index = np.nan_to_num(real.values["meant"], nan=-1).astype(np.int64)
    return np.where((index >= 0) & real.valid[index], index, -1)


def score_rolled(
    made: Observed, real: Observed, use: NDArray[np.bool_], bilabials: Sequence[Interval] | None
) -> dict[str, float]:
    """Score a method on frames `use` [t]; the real clip, rolled, gets only the measures that need no target."""
    target_index = meant_frames(real)
    target = {name: real.values[name][target_index] for name in ("opening", "width", "change", "own_energy")}
    values = target if made is real else made.values
    scores = {}
    if bilabials:
        scores["closures"] = closed_share(values["opening"][use], real.values["middle_s"][use], bilabials)
    if made is real:
        return scores
    opening, target_opening = values["opening"][use], target["opening"][use]
    scores |= {
        "opening": correlation(opening, target_opening),
        "width": correlation(values["width"][use], target["width"][use]),
        "leak": leak(opening, real.values["opening"][use], target_opening),
        "span": span(opening, target_opening),
        "sharpness": sharpness(float(values["own_energy"][use].mean()), float(target["own_energy"][use].mean())),
        "compute": made.compute,
    }
    steps = use[:-1] & use[1:] & (np.diff(target_index) >= 0)  # leave out the roll's seam, where the real mouth jumps
    if (counts := steps[:-1] & steps[1:]).any():
        scores["jitter"] = jitter(made.lips, real.lips[target_index], counts)
    changes, target_changes = values["change"][:-1], target["change"][:-1]
    is_valid = steps & (np.diff(target_index) == 1) & np.isfinite(changes) & np.isfinite(target_changes)
    return scores | {"flicker": flicker(changes[is_valid], target_changes[is_valid])}
