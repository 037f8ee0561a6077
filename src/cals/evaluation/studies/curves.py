"""Measures of the studies over many clips, for every condition and bootstrap resample of the clips."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from cals.evaluation.drives import F64
from cals.evaluation.scores import compute_openings
from cals.face.landmarks import MOUTH_68
from cals.metrics.landmarks import landmark_distance

MEASURES = ("opening", "lmd")
MEASURE_LABELS = {"opening": "correlation of mouth openings", "lmd": "LMD, px of the crop"}
DIRECTION = {"opening": 1, "lmd": -1}
"""1 where higher is better, -1 where lower is."""
_STILL = 1e-12
"""Squared variation of an opening below which the mouth does not move."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One clip's mouths under one condition, a value for each measured moment."""

    real: list[float]
    """Opening of the real mouth, in inter-ocular distances."""
    made: list[float]
    lmd: list[float]
    """In crop pixels."""


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """Measurements of one clip."""

    part: str
    clip: str
    frames: int
    moments: list[int]
    """Middle frames of the measured windows."""
    dropped: int
    """Frames that are left out under every condition, since one of them shows no face."""
    series: dict[str, Series]

    def document(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        return asdict(self)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """Build a record from the JSON of `document`."""
        series = {name: Series(**values) for name, values in document["series"].items()}
        return cls(**(document | {"series": series}))


def build_series(real: F64, conditions: Mapping[str, F64]) -> tuple[dict[str, Series], int]:
    """Compute a series for each condition from landmarks [n 468 2]; returns how many of the n were dropped too."""
    valid = np.all([np.isfinite(points).all(axis=(1, 2)) for points in (real, *conditions.values())], axis=0)
    lips, target = list(MOUTH_68), real[valid]
    by_condition = {}
    for name, landmarks in conditions.items():
        points = landmarks[valid]
        distances = [landmark_distance(a[None, lips], b[None, lips]) for a, b in zip(points, target, strict=True)]
        by_condition[name] = Series(
            real=_round_values(compute_openings(target)),
            made=_round_values(compute_openings(points)),
            lmd=_round_values(distances),
        )
    return by_condition, int((~valid).sum())


def _round_values(values: Sequence[float] | F64) -> list[float]:
    """Round values before anything is computed from them, so that resumed work gives the same results."""
    return [round(float(value), 6) for value in values]


def compute_measures(clips: Sequence[Series], counts: F64) -> dict[str, F64]:
    """Compute each measure [r] for each row of `counts` [r c].

    `opening` is the correlation of openings pooled within clips: each clip's means are subtracted first, so that
    differences between people do not count. `lmd` is the mean over all moments.
    """
    sums = []
    for one in clips:
        real, generated = (np.array(v) - (np.mean(v) if v else 0.0) for v in (one.real, one.made))
        sums.append([real @ generated, real @ real, generated @ generated, sum(one.lmd), len(one.lmd)])
    covariance, real_variance, generated_variance, distance, moments = (counts @ np.array(sums, dtype=np.float64)).T
    is_moving = (real_variance > _STILL) & (generated_variance > _STILL)
    correlation = np.where(
        is_moving, covariance / np.sqrt(np.where(is_moving, real_variance * generated_variance, 1)), 0.0
    )
    return {"opening": correlation, "lmd": distance / np.maximum(moments, 1)}


def find_gain_point(curves: F64, better: int, share: float = 0.95) -> F64:
    """Find where each curve [r k] first reaches `share` of its gain from the first point to its best one, [r].

    Interpolates linearly between points, as the oracle of synthetic speech does too; NaN for a curve whose first point
    is its best. `better` is 1 where higher is better, else -1.
    """
    gain = better * (curves - curves[:, :1])
    goal = share * gain.max(axis=1)
    rows, reached = np.arange(len(gain)), np.maximum((gain >= goal[:, None]).argmax(axis=1), 1)
    before, after = gain[rows, reached - 1], gain[rows, reached]
    rise = np.where(goal > 0, after - before, 1.0)
    return np.where(goal > 0, reached - 1 + (goal - before) / rise, np.nan)
