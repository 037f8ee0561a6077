"""Table of an ablation beside the published one, and a comparison of the two orders in words."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from cals.metrics.bootstrap import estimate_mean
from cals.report.tables import format_table

Scores = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Part -> row -> measure -> clip -> value."""


class Measure(NamedTuple):
    """A measure of Table 1."""

    title: str
    higher: bool
    """Whether higher is better."""
    digits: int


MEASURES = {
    "psnr": Measure("PSNR", True, 3),
    "ssim": Measure("SSIM", True, 4),
    "lmd": Measure("LMD", False, 3),
    "lse_d": Measure("LSE-D", False, 4),
    "lse_c": Measure("LSE-C", True, 4),
}
EXTRA_MEASURES = {"psnr_lips": Measure("lips PSNR", True, 3), "opening": Measure("opening r", True, 3)}
"""Also measured, not published."""
Published = Mapping[str, Mapping[str, float]]
"""Row -> measure -> value."""
TABLE_1: Published = {
    "wav2lip": {"psnr": 31.182, "ssim": 0.841, "lmd": 1.519, "lse_d": 5.895, "lse_c": 8.795},
    "a2l": {"psnr": 32.419, "ssim": 0.870, "lmd": 1.311, "lse_d": 5.623, "lse_c": 9.144},
    "a2l+d_av": {"psnr": 32.501, "ssim": 0.867, "lmd": 1.064, "lse_d": 5.204, "lse_c": 9.421},
    "a2l+d_av+d_vv": {"psnr": 32.603, "ssim": 0.876, "lmd": 1.056, "lse_d": 5.337, "lse_c": 9.225},
}
"""On LRS2."""
MIN_CLIPS = 6
"""Fewest clips of a comparison: of fewer, all differ in one direction by chance in over 5 % (sign test)."""
Verdict = Literal["as published", "the other way round", "not told apart"]


def format_mean_table(scores: Scores, published: Published = TABLE_1) -> str:
    """Format the means over clips, ours and then the paper's."""
    measures = MEASURES | EXTRA_MEASURES
    head = ["part", "row", "clips", *(measure.title for measure in measures.values())]
    head += [f"paper: {measure.title}" for measure in MEASURES.values()]
    rows = []
    for part, found in scores.items():
        for row, values in found.items():
            clips = max(len(of_clips) for of_clips in values.values())
            ours = [
                _format_number(_average(values.get(name, {})), measure.digits) for name, measure in measures.items()
            ]
            theirs = [_format_number(published.get(row, {}).get(name), 3) for name in MEASURES]
            rows.append([part, row, str(clips), *ours, *theirs])
    return format_table(head, rows)


def describe_order(scores: Scores, published: Published = TABLE_1) -> list[str]:
    """Describe, for each part and measure, the published ranks and the pairs on which ours agree."""
    return [
        words
        for part, rows in scores.items()
        for name in MEASURES
        if (words := _describe_measure(part, name, _select_rows(name, rows, published), published))
    ]


def _select_rows(
    name: str, rows: Mapping[str, Mapping[str, dict[str, float]]], published: Published
) -> dict[str, dict[str, float]]:
    """Select the published rows that were measured: row -> clip -> value."""
    return {row: rows[row][name] for row in published if name in rows.get(row, {})}


def _describe_measure(part: str, name: str, rows: dict[str, dict[str, float]], published: Published) -> str:
    if len(rows) < 2:
        return ""
    measure = MEASURES[name]
    common = set.intersection(*(set(values) for values in rows.values()))  # means of other clips have no order
    if not common:
        return ""
    ours = {row: float(np.mean([values[clip] for clip in common])) for row, values in rows.items()}
    theirs = {row: published[row][name] for row in rows}
    clips = len(common)
    ranks = (
        f"- {measure.title}, {part}, {clips} clips. Published, best first: {_format_ranks(theirs, measure)}. Ours: "
        f"{_format_ranks(ours, measure)}."
    )
    if clips < MIN_CLIPS:
        return f"{ranks} No pair is told apart: that takes {MIN_CLIPS} clips."
    verdicts: dict[Verdict, list[str]] = {"as published": [], "the other way round": [], "not told apart": []}
    for first, second in combinations(rows, 2):
        low, high = estimate_difference(rows[first], rows[second])
        better = second if (theirs[second] > theirs[first]) == measure.higher else first
        worse = first if better == second else second
        verdicts[_choose_verdict(low, high, theirs[second] - theirs[first])].append(
            f"{better} over {worse} ({ours[second] - ours[first]:+.{measure.digits}f} from {first} to {second}, "
            f"{low:+.{measure.digits}f} to {high:+.{measure.digits}f})"
        )
    pairs = sum(map(len, verdicts.values()))
    counted = "; ".join(f"{verdict}: {', '.join(found)}" for verdict, found in verdicts.items() if found)
    return f"{ranks} {len(verdicts['as published'])} of {pairs} pairs as published. {counted}."


def estimate_difference(first: dict[str, float], second: dict[str, float]) -> tuple[float, float]:
    """Estimate the 95 % bootstrap interval of second - first over their common clips; infinite for too few."""
    common = sorted(first.keys() & second.keys())
    if len(common) < MIN_CLIPS:
        return -math.inf, math.inf
    _, low, high = estimate_mean(np.array([second[clip] - first[clip] for clip in common]))
    assert low is not None  # there are more clips than one
    assert high is not None
    return low, high


def _choose_verdict(low: float, high: float, published: float) -> Verdict:
    if low <= 0 <= high:
        return "not told apart"
    return "as published" if (low > 0) == (published > 0) else "the other way round"


def _format_ranks(values: dict[str, float], measure: Measure) -> str:
    order: Sequence[str] = sorted(values, key=lambda row: values[row], reverse=measure.higher)
    return ", ".join(order)


def _average(values: dict[str, float]) -> float | None:
    return float(np.mean(list(values.values()))) if values else None


def _format_number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
