"""Measures of several methods at the same moments, their paired differences, and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from cals.evaluation.studies.curves import MEASURES, ClipRecord, compute_measures
from cals.metrics.bootstrap import F64, Estimate, estimate_interval
from cals.report.rounding import round_estimate
from cals.report.tables import format_table

Points = dict[str, dict[str, Estimate]]
"""Measure -> method, or `one method - another`, -> value."""


def estimate_points(
    records: Sequence[ClipRecord], names: Mapping[str, str], pairs: Sequence[tuple[str, str]], drawn: F64
) -> Points:
    """Estimate every measure and the differences of pairs from the resamples `drawn`; `names`: method -> its series.

    A pair of which one method is missing is left out.
    """
    number = len(records)
    by_way = {way: compute_measures([record.series[name] for record in records], drawn) for way, name in names.items()}
    return {
        measure: {way: estimate_interval(of[measure], number) for way, of in by_way.items()}
        | {
            f"{a} - {b}": estimate_interval(by_way[a][measure] - by_way[b][measure], number)
            for a, b in pairs
            if a in by_way and b in by_way
        }
        for measure in MEASURES
    }


def describe_points(points: Mapping[str, Mapping[Any, Points]]) -> dict[str, Any]:
    """Return part -> condition -> points, as JSON has them."""
    return {
        part: {
            str(condition): {
                name: {way: round_estimate(e) for way, e in by_way.items()} for name, by_way in by_measure.items()
            }
            for condition, by_measure in by_condition.items()
        }
        for part, by_condition in points.items()
    }


def tabulate_points(points: Mapping[str, Mapping[Any, Points]], condition: str) -> str:
    """Format a Markdown table for each measure, a line a part and condition; `condition` titles the second column."""
    names = list(next(iter(next(iter(points.values())).values()))[MEASURES[0]])
    texts = []
    for measure in MEASURES:
        rows = [
            [part, str(label), *(_format_cell(name, by_measure[measure][name]) for name in names)]
            for part, by_condition in points.items()
            for label, by_measure in by_condition.items()
        ]
        texts.append(f"{measure}:\n\n" + format_table(["part", condition, *names], rows, aligned=False))
    return "\n\n".join(texts)


def _format_cell(name: str, found: Estimate) -> str:
    """Format differences with their interval and values without, which the plot and the JSON have."""
    return str(found) if " - " in name else f"{found.value:.3f}"
