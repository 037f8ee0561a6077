"""Answers to numbers: who counts, mean opinion scores with intervals, and paired tests between methods."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cals.evaluation.opinion.answers import Answer
from cals.evaluation.opinion.study import QUESTIONS, SYNC, Stimulus, Study
from cals.metrics.bootstrap import F64, Estimate, draws, estimate

REAL_LEAST, SHUFFLED_MOST = 3, 2
"""What a rater has to say of the lip-sync of catch trials; one who answers everything alike fails."""
EXACT_RATERS, FLIPS = 14, 20_000
"""Up to so many raters all changes of sign are tried, for more so many drawn ones."""
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Rater:
    """One who answered."""

    name: str
    answers: tuple[tuple[Stimulus, Mapping[str, int]], ...]
    finished: bool
    caught: tuple[str, ...] = field(default=())
    """Catch trials that were not rated as they must be, in words."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """Scores [raters clips methods questions], NaN where there is none."""

    values: F64
    methods: tuple[str, ...]

    @property
    def raters(self) -> int:
        return len(self.values)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two methods on one question."""

    question: str
    first: str
    second: str
    difference: Estimate
    p: float
    """Two-sided, of all raters' differences having a sign by chance; NaN where there are none."""
    p_holm: float
    """For all comparisons of the study together (Holm, 1979)."""


def group_raters(answers: Sequence[Answer], study: Study) -> list[Rater]:
    """Everyone who answered, by name."""
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.rater, []).append(answer)
    raters = []
    for name, given in sorted(found.items()):
        pairs = tuple((study.stimuli[answer.video], answer.scores) for answer in given)
        raters.append(
            Rater(
                name=name,
                answers=pairs,
                finished=len(given) == len(study.stimuli),
                caught=tuple(_missed(one, scores[SYNC]) for one, scores in pairs if _missed(one, scores[SYNC])),
            )
        )
    return raters


def _missed(stimulus: Stimulus, score: int) -> str:
    """What is wrong with the lip-sync score of a catch trial; empty for a sensible one and for other trials."""
    if stimulus.role != "catch":
        return ""
    if stimulus.sound == stimulus.clip:
        return "" if score >= REAL_LEAST else f"lip-sync of the real {stimulus.clip} rated {score}"
    return "" if score <= SHUFFLED_MOST else f"{stimulus.clip} with the sound of {stimulus.sound} rated {score}"


def collect_ratings(raters: Sequence[Rater], study: Study) -> Ratings:
    """What the raters said in the trials that count."""
    values = np.full((len(raters), len(study.clips), len(study.methods), len(QUESTIONS)), np.nan)
    for row, rater in enumerate(raters):
        for one, scores in rater.answers:
            if one.role == "trial":
                place = row, study.clips.index(one.clip), study.methods.index(one.method)
                values[place] = [scores[question.key] for question in QUESTIONS]
    return Ratings(values, study.methods)


def estimate_means(ratings: Ratings, seed: int) -> dict[str, dict[str, Estimate]]:
    """Method -> question -> mean opinion score; the bootstrap draws raters and clips anew, both at once."""
    return {
        method: {question.key: estimate_mean(ratings.values[:, :, m, q], seed) for q, question in enumerate(QUESTIONS)}
        for m, method in enumerate(ratings.methods)
    }


def estimate_mean(scores: F64, seed: int) -> Estimate:
    """The mean of scores [raters clips], and its interval where there are two of both at least.

    Drawing raters and clips independently errs on the safe side (Owen, 2007).
    """
    raters, clips = scores.shape
    there = np.isfinite(scores)
    if not there.any():
        return Estimate(math.nan)
    of_raters, of_clips = draws(raters, seed), draws(clips, seed + 1)
    total = np.einsum("br,rc,bc->b", of_raters, np.where(there, scores, 0.0), of_clips, optimize=True)
    weight = np.einsum("br,rc,bc->b", of_raters, there.astype(np.float64), of_clips, optimize=True)
    means = np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)
    return estimate(means, min(raters, clips))


def compare_methods(ratings: Ratings, seed: int) -> list[Comparison]:
    """All pairs of methods on all questions."""
    found = []
    for q, question in enumerate(QUESTIONS):
        for a, b in itertools.combinations(range(len(ratings.methods)), 2):
            apart = ratings.values[:, :, a, q] - ratings.values[:, :, b, q]
            names = {"first": ratings.methods[a], "second": ratings.methods[b]}
            found.append((question.key, names, estimate_mean(apart, seed), sign_flip_p(_rater_means(apart), seed)))
    adjusted = adjust_holm([p for *_, p in found])
    return [
        Comparison(question=key, **names, difference=difference, p=p, p_holm=holm)
        for (key, names, difference, p), holm in zip(found, adjusted, strict=True)
    ]


def _rater_means(apart: F64) -> F64:
    """One difference a rater [r], of those clips of which both versions were rated; raters without any are left out."""
    there = np.isfinite(apart)
    some = there.any(axis=1)
    means: F64 = np.where(there, apart, 0.0)[some].sum(axis=1) / there[some].sum(axis=1)
    return means


def sign_flip_p(differences: F64, seed: int) -> float:
    """How often the mean of differences [n] is as far from 0 as theirs when each has its sign by chance, two-sided.

    Exact up to `EXACT_RATERS`; beyond, of drawn signs, of which theirs count as one.
    """
    count = len(differences)
    if not count:
        return math.nan
    if count <= EXACT_RATERS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
    else:
        drawn = np.random.default_rng(seed).integers(0, 2, (FLIPS, count)) * 2.0 - 1
        signs = np.concatenate([np.ones((1, count)), drawn])
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - _SAME))


def adjust_holm(values: Sequence[float]) -> list[float]:
    """Each p for all of them together: the smallest times their number, the next times one less, never falling."""
    known = sorted((i for i, p in enumerate(values) if math.isfinite(p)), key=lambda i: values[i])
    adjusted, least = list(values), 0.0
    for rank, i in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * values[i]))
        adjusted[i] = least
    return adjusted
