"""Several ways of making the mouths of the same moments: the measures of each, paired differences, and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from cals.evaluation.studies.common import numbers
from cals.evaluation.studies.curves import MEASURES, ClipRecord, values
from cals.metrics.bootstrap import F64, Estimate, estimate

Points = dict[str, dict[str, Estimate]]
"""Measure -> way, or `one way - another`, -> value."""


def compare_ways(
    records: Sequence[ClipRecord], names: Mapping[str, str], pairs: Sequence[tuple[str, str]], drawn: F64
) -> Points:
    """Estimate every measure of ways -> names of their series, and differences of pairs, from the resamples `drawn`.

    A pair of which one way is missing is left out.
    """
    number = len(records)
    each = {way: values([record.series[name] for record in records], drawn) for way, name in names.items()}
    return {
        measure: {way: estimate(of[measure], number) for way, of in each.items()}
        | {
            f"{a} - {b}": estimate(each[a][measure] - each[b][measure], number)
            for a, b in pairs
            if a in each and b in each
        }
        for measure in MEASURES
    }


def describe_points(points: Mapping[str, Mapping[Any, Points]]) -> dict[str, Any]:
    """Part -> condition -> points, as JSON has them."""
    return {
        part: {
            str(condition): {name: {way: numbers(e) for way, e in of.items()} for name, of in found.items()}
            for condition, found in by_condition.items()
        }
        for part, by_condition in points.items()
    }


def tabulate_points(points: Mapping[str, Mapping[Any, Points]], condition: str) -> str:
    """A Markdown table a measure, with a line a part and condition, which is what the second column is called."""
    names = list(next(iter(next(iter(points.values())).values()))[MEASURES[0]])
    texts = []
    for measure in MEASURES:
        lines = [f"{measure}:\n", f"| part | {condition} | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
        for part, by_condition in points.items():
            for place, found in by_condition.items():
                row = " | ".join(_cell(name, found[measure][name]) for name in names)
                lines.append(f"| {part} | {place} | {row} |")
        texts.append("\n".join(lines))
    return "\n\n".join(texts)


def _cell(name: str, found: Estimate) -> str:
    """Differences with their interval, values without: the plot and the JSON have those."""
    return str(found) if " - " in name else f"{found.value:.3f}"
