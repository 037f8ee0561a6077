"""Statistics of answers: screening of raters, mean opinion scores with intervals, and paired tests of methods."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cals.evaluation.opinion.answers import Answer
from cals.evaluation.opinion.study import QUESTIONS, SYNC, Stimulus, Study
from cals.metrics.bootstrap import F64, Estimate, estimate_interval, sample_clip_counts

MIN_REAL_SCORE, MAX_SHUFFLED_SCORE = 3, 2
"""Limits for the lip-sync scores of catch trials; a rater with equal scores for all fails."""
EXACT_RATERS, FLIPS = 14, 20_000
"""Largest number of raters with an exact test of all sign flips, and the number of random flips for more."""
MIN_SAMPLE = 5
"""Fewest raters, and clips, with an interval: with three it would hold 81 of 100 times (simulated), not 95."""
NORMAL_QUANTILE = 1.959964
_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Rater:
    """One rater with all answers."""

    name: str
    answers: tuple[tuple[Stimulus, Mapping[str, int]], ...]
    finished: bool
    failed_catches: tuple[str, ...] = field(default=())
    """Failed catch trials, in words."""


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
    """Two-sided p of a sign-flip test over raters' differences; NaN where there are none."""
    p_holm: float
    """The same, corrected for all comparisons of the study (Holm, 1979)."""


def group_raters(answers: Sequence[Answer], study: Study) -> list[Rater]:
    """Group answers by rater, sorted by name."""
    by_rater: dict[str, list[Answer]] = {}
    for answer in answers:
        by_rater.setdefault(answer.rater, []).append(answer)
    raters = []
    for name, rater_answers in sorted(by_rater.items()):
        pairs = tuple((study.stimuli[answer.video], answer.scores) for answer in rater_answers)
        raters.append(
            Rater(
                name=name,
                answers=pairs,
                finished=len(rater_answers) == len(study.stimuli),
                failed_catches=tuple(
                    _describe_failure(one, scores[SYNC])
                    for one, scores in pairs
                    if _describe_failure(one, scores[SYNC])
                ),
            )
        )
    return raters


def _describe_failure(stimulus: Stimulus, score: int) -> str:
    """Describe a wrong lip-sync score of a catch trial; empty for a right one and for other trials."""
    if stimulus.role != "catch":
        return ""
    if stimulus.sound == stimulus.clip:
        return "" if score >= MIN_REAL_SCORE else f"lip-sync of the real {stimulus.clip} rated {score}"
    return "" if score <= MAX_SHUFFLED_SCORE else f"{stimulus.clip} with the sound of {stimulus.sound} rated {score}"


def collect_ratings(raters: Sequence[Rater], study: Study) -> Ratings:
    """Collect the scores of the trials that count."""
    values = np.full((len(raters), len(study.clips), len(study.methods), len(QUESTIONS)), np.nan)
    for row, rater in enumerate(raters):
        for one, scores in rater.answers:
            if one.role == "trial":
                index = row, study.clips.index(one.clip), study.methods.index(one.method)
                values[index] = [scores[question.key] for question in QUESTIONS]
    return Ratings(values, study.methods)


def estimate_means(ratings: Ratings, seed: int) -> dict[str, dict[str, Estimate]]:
    """Estimate method -> question -> mean opinion score; the bootstrap resamples raters and clips together."""
    return {
        method: {question.key: estimate_mean(ratings.values[:, :, m, q], seed) for q, question in enumerate(QUESTIONS)}
        for m, method in enumerate(ratings.methods)
    }


def estimate_mean(scores: F64, seed: int) -> Estimate:
    """Estimate the mean of scores [raters clips], with an interval where there are `MIN_SAMPLE` or more of both.

    Raters and clips are resampled independently (Owen, 2007). For small samples the bootstrap's interval is too narrow:
    it is widened as Student's t is against the normal distribution, and by the bias of the sample's variance.
    """
    raters, clips = scores.shape
    valid = np.isfinite(scores)
    if not valid.any():
        return Estimate(math.nan)
    of_raters, of_clips = sample_clip_counts(raters, seed), sample_clip_counts(clips, seed + 1)
    total = np.einsum("br,rc,bc->b", of_raters, np.where(valid, scores, 0.0), of_clips, optimize=True)
    weight = np.einsum("br,rc,bc->b", of_raters, valid.astype(np.float64), of_clips, optimize=True)
    means = np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)
    found, sample = estimate_interval(means, min(raters, clips)), min(raters, clips)
    if found.low is None or found.high is None or sample < MIN_SAMPLE:
        return Estimate(found.value)
    factor = compute_t_quantile(sample - 1) / NORMAL_QUANTILE * math.sqrt(sample / (sample - 1))
    return Estimate(
        found.value, found.value + factor * (found.low - found.value), found.value + factor * (found.high - found.value)
    )


def compute_t_quantile(freedom: int) -> float:
    """Compute the 97.5 % quantile of Student's t, to 0.01 from 4 degrees of freedom on (Cornish-Fisher series)."""
    z = NORMAL_QUANTILE
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def compare_methods(ratings: Ratings, seed: int) -> list[Comparison]:
    """Compare all pairs of methods on all questions."""
    tests = []
    for q, question in enumerate(QUESTIONS):
        for a, b in itertools.combinations(range(len(ratings.methods)), 2):
            differences = ratings.values[:, :, a, q] - ratings.values[:, :, b, q]
            names = {"first": ratings.methods[a], "second": ratings.methods[b]}
            tests.append(
                (
                    question.key,
                    names,
                    estimate_mean(differences, seed),
                    compute_sign_flip_p(_average_by_rater(differences), seed),
                )
            )
    adjusted = adjust_holm([p for *_, p in tests])
    return [
        Comparison(question=key, **names, difference=difference, p=p, p_holm=holm)
        for (key, names, difference, p), holm in zip(tests, adjusted, strict=True)
    ]


def _average_by_rater(differences: F64) -> F64:
    """Average each rater's differences over clips with both versions rated, [r]; raters without any are left out."""
    valid = np.isfinite(differences)
    has_any = valid.any(axis=1)
    means: F64 = np.where(valid, differences, 0.0)[has_any].sum(axis=1) / valid[has_any].sum(axis=1)
    return means


def compute_sign_flip_p(differences: F64, seed: int) -> float:
    """Compute the two-sided p value of the mean of differences [n] by a sign-flip permutation test.

    Exact up to `EXACT_RATERS`; beyond, by random signs, with the observed ones among them.
    """
    count = len(differences)
    if not count:
        return math.nan
    if count <= EXACT_RATERS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
    else:
        flips = np.random.default_rng(seed).integers(0, 2, (FLIPS, count)) * 2.0 - 1
        signs = np.concatenate([np.ones((1, count)), flips])
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - _TOLERANCE))


def adjust_holm(values: Sequence[float]) -> list[float]:
    """Apply Holm's correction: the smallest p times their number, the next times one less, never decreasing."""
    order = sorted((i for i, p in enumerate(values) if math.isfinite(p)), key=lambda i: values[i])
    adjusted, highest = list(values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * values[i]))
        adjusted[i] = highest
    return adjusted
