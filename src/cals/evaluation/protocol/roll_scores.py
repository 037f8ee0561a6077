"""Scores of a mouth driven by the clip's own rolled sound, against the real mouth that belongs to that sound."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cals.evaluation.protocol.frame_records import FrameRecord
from cals.evaluation.scores import compute_sharpness
from cals.metrics.closures import Interval, closure_rate
from cals.metrics.flicker import flicker
from cals.metrics.motion import correlation, jitter, leak, span_ratio


def find_target_frames(real: FrameRecord) -> NDArray[np.int64]:
    """Return the index [t] of the real frame that belongs to the sound; -1 where either frame has no face."""
    index = np.nan_to_num(real.values["meant"], nan=-1).astype(np.int64)
    return np.where((index >= 0) & real.valid[index], index, -1)


def score_roll(
    made: FrameRecord, real: FrameRecord, use: NDArray[np.bool_], bilabials: Sequence[Interval] | None
) -> dict[str, float]:
    """Score a method on frames `use` [t]; the real clip, rolled, gets only the measures that need no target."""
    target_index = find_target_frames(real)
    target = {name: real.values[name][target_index] for name in ("opening", "width", "change", "own_energy")}
    values = target if made is real else made.values
    scores = {}
    if bilabials:
        scores["closures"] = closure_rate(values["opening"][use], real.values["middle_s"][use], bilabials)
    if made is real:
        return scores
    opening, target_opening = values["opening"][use], target["opening"][use]
    scores |= {
        "opening": correlation(opening, target_opening),
        "width": correlation(values["width"][use], target["width"][use]),
        "leak": leak(opening, real.values["opening"][use], target_opening),
        "span": span_ratio(opening, target_opening),
        "sharpness": compute_sharpness(
            float(values["own_energy"][use].mean()), float(target["own_energy"][use].mean())
        ),
        "compute": made.compute,
    }
    steps = use[:-1] & use[1:] & (np.diff(target_index) >= 0)  # leave out the roll's seam, where the real mouth jumps
    if (counts := steps[:-1] & steps[1:]).any():
        scores["jitter"] = jitter(made.lips, real.lips[target_index], counts)
    changes, target_changes = values["change"][:-1], target["change"][:-1]
    is_valid = steps & (np.diff(target_index) == 1) & np.isfinite(changes) & np.isfinite(target_changes)
    return scores | {"flicker": flicker(changes[is_valid], target_changes[is_valid])}
