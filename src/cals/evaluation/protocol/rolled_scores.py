"""A mouth driven by the clip's own rolled sound, against the real mouth that belongs to it, from records of frames."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cals.evaluation.protocol.observed import Observed
from cals.evaluation.scores import sharpness
from cals.metrics.closures import Interval, closed_share
from cals.metrics.flicker import flicker
from cals.metrics.motion import correlation, jitter, leak, span


def meant_frames(real: Observed) -> NDArray[np.int64]:
    """[t], the real frame whose mouth belongs to the sound; -1 where there is no face, or that one has none."""
    index = np.nan_to_num(real.values["meant"], nan=-1).astype(np.int64)
    return np.where((index >= 0) & real.valid[index], index, -1)


def score_rolled(
    made: Observed, real: Observed, use: NDArray[np.bool_], bilabials: Sequence[Interval] | None
) -> dict[str, float]:
    """The values of a method on frames `use` [t]; of the real clip, rolled, only what is no comparison with it."""
    meant = meant_frames(real)
    rolled = {name: real.values[name][meant] for name in ("opening", "width", "change", "own_energy")}
    values = rolled if made is real else made.values
    found = {}
    if bilabials:
        found["closures"] = closed_share(values["opening"][use], real.values["middle_s"][use], bilabials)
    if made is real:
        return found
    opened, opened_really = values["opening"][use], rolled["opening"][use]
    found |= {
        "opening": correlation(opened, opened_really),
        "width": correlation(values["width"][use], rolled["width"][use]),
        "leak": leak(opened, real.values["opening"][use], opened_really),
        "span": span(opened, opened_really),
        "sharpness": sharpness(float(values["own_energy"][use].mean()), float(rolled["own_energy"][use].mean())),
        "compute": made.compute,
    }
    steps = use[:-1] & use[1:] & (np.diff(meant) >= 0)  # not over the roll's seam, where the real mouth leaps
    if (counts := steps[:-1] & steps[1:]).any():
        found["jitter"] = jitter(made.lips, real.lips[meant], counts)
    changes, really = values["change"][:-1], rolled["change"][:-1]
    known = steps & (np.diff(meant) == 1) & np.isfinite(changes) & np.isfinite(really)
    return found | {"flicker": flicker(changes[known], really[known])}
