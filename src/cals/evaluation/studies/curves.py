"""What the studies say of many clips: a measure at every length, with bootstrap intervals over clips."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from cals.evaluation.drives import F64
from cals.evaluation.scores import openings
from cals.face.landmarks import MOUTH_68
from cals.metrics.landmarks import landmark_distance

MEASURES = ("opening", "lmd")
BETTER = {"opening": 1, "lmd": -1}
"""Whether more is better, or less."""
_STILL = 1e-12
"""Openings that vary less than this, squared, do not move."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One clip's mouths under one condition, a value for each moment that was looked at."""

    real: list[float]
    """Opening of the real mouth, in inter-ocular distances."""
    made: list[float]
    lmd: list[float]
    """In crop pixels."""


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """What was measured of one clip."""

    part: str
    clip: str
    frames: int
    moments: list[int]
    """Frames in the middle of what was looked at."""
    dropped: int
    """Pictures that were left out under every condition alike, since a face was not found under one of them."""
    series: dict[str, Series]

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """The inverse of `document`."""
        series = {name: Series(**values) for name, values in document["series"].items()}
        return cls(**(document | {"series": series}))


def series(real: F64, conditions: Mapping[str, F64]) -> tuple[dict[str, Series], int]:
    """A series for each condition from landmarks [n 468 2], and how many of the n were dropped from all of them."""
    there = np.all([np.isfinite(points).all(axis=(1, 2)) for points in (real, *conditions.values())], axis=0)
    lips, truth = list(MOUTH_68), real[there]
    found = {}
    for name, every in conditions.items():
        points = every[there]
        away = [landmark_distance(a[None, lips], b[None, lips]) for a, b in zip(points, truth, strict=True)]
        found[name] = Series(real=_rounded(openings(truth)), made=_rounded(openings(points)), lmd=_rounded(away))
    return found, int((~there).sum())


def _rounded(values: Sequence[float] | F64) -> list[float]:
    """Rounded once, before anything is computed, so that resumed work says the same as work done in one go."""
    return [round(float(value), 6) for value in values]


def values(clips: Sequence[Series], counts: F64) -> dict[str, F64]:
    """Each measure under each row of `counts` [r c], [r].

    `opening` is the correlation of openings pooled within clips: each clip's means are taken off first, so that
    people with large mouths prove nothing. `lmd` is the mean over all moments.
    """
    sums = []
    for one in clips:
        real, made = (np.array(v) - (np.mean(v) if v else 0.0) for v in (one.real, one.made))
        sums.append([real @ made, real @ real, made @ made, sum(one.lmd), len(one.lmd)])
    both, own, other, distance, number = (counts @ np.array(sums, dtype=np.float64)).T
    moving = (own > _STILL) & (other > _STILL)
    correlation = np.where(moving, both / np.sqrt(np.where(moving, own * other, 1)), 0.0)
    return {"opening": correlation, "lmd": distance / np.maximum(number, 1)}


def gained(curves: F64, better: int, share: float = 0.95) -> F64:
    """Where each curve [r k] first reaches `share` of its gain from the first point to its best one, [r].

    Between two points by a straight line, as the oracle of drawn speech counts too; NaN for a curve whose first point
    is its best. `better` is 1 where more is better, else -1.
    """
    gain = better * (curves - curves[:, :1])
    goal = share * gain.max(axis=1)
    rows, reached = np.arange(len(gain)), np.maximum((gain >= goal[:, None]).argmax(axis=1), 1)
    before, after = gain[rows, reached - 1], gain[rows, reached]
    rise = np.where(goal > 0, after - before, 1.0)
    return np.where(goal > 0, reached - 1 + (goal - before) / rise, np.nan)
