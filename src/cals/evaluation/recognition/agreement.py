"""Agreement of this reader and the word reader of `cals readability` on which lips are read better."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cals.errors import DataError
from cals.evaluation.reading.readings import ALL
from cals.metrics.motion import correlation
from cals.report.rounding import round_for_json
from cals.report.tables import format_table

MIN_METHODS = 3
"""Least number of methods for a correlation."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Word accuracies of the same methods by both readers."""

    source: str
    rows: list[tuple[str, str, str, float, float]] = field(default_factory=list)
    """Part, method, system, accuracy by the word reader, accuracy (1 - word error rate) by the system."""

    def compute_correlations(self) -> dict[tuple[str, str], float]:
        """Return part and system -> Pearson correlation over methods; NaN for too few or constant ones."""
        correlations = {}
        for part, system in dict.fromkeys((part, system) for part, _, system, _, _ in self.rows):
            pairs = np.array([row[3:] for row in self.rows if (row[0], row[2]) == (part, system)])
            is_defined = len(pairs) >= MIN_METHODS and bool((pairs.std(axis=0) > 0).all())
            correlations[part, system] = correlation(*pairs.T) if is_defined else math.nan
        return correlations

    def format_text(self) -> str:
        """Format both accuracies in %, and their correlation over methods."""
        rows = [
            [part, system, method, f"{100 * words:.1f}", f"{100 * accuracy:.1f}"]
            for part, method, system, words, accuracy in self.rows
        ]
        lines = [
            f"{part}, {system}: correlation over methods and real lips "
            + (
                f"{value:.2f}"
                if not math.isnan(value)
                else f"not known: it needs {MIN_METHODS} methods that are read differently"
            )
            for (part, system), value in self.compute_correlations().items()
        ]
        head = ["part", "read by", "videos", "word reader", "1 - WER"]
        return f"Word accuracy in % beside that of {self.source}.\n\n{format_table(head, rows)}\n\n" + "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """Return a JSON document."""
        names = ("part", "method", "system", "word_reader", "accuracy")
        correlations = [
            {"part": part, "system": system, "correlation": value}
            for (part, system), value in self.compute_correlations().items()
        ]
        rows = [dict(zip(names, row, strict=True)) for row in self.rows]
        document: dict[str, Any] = round_for_json(
            {"source": self.source, "methods": rows, "correlations": correlations}
        )
        return document


def load_accuracies(path: Path) -> dict[tuple[str, str], float]:
    """Read part and method -> accuracy over all words, of a readability.json; DataError where it is none."""
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
        accuracies = {(one["part"], one["method"]): one["accuracy"]["value"] for one in scores if one["slot"] == ALL}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected readability.json, as `cals readability` writes it, found {error!r}; name another file"
        ) from error
    return {key: float(value) for key, value in accuracies.items() if value is not None}


def compare_readers(
    source: Path, words: Mapping[tuple[str, str], float], rates: Mapping[tuple[str, str, str], float]
) -> Agreement:
    """Pair the accuracies of both readers: `words` by part and method, `rates` of errors by part, method and system.

    DataError where they have no method in common.
    """
    rows = [
        (part, method, system, words[part, method], 1 - rate)
        for (part, method, system), rate in rates.items()
        if (part, method) in words
    ]
    if not rows:
        known = ", ".join(sorted({f"{method} of {part}" for part, method in words})) or "none"
        raise DataError(
            f"{source}: expected parts and methods that are read here too, found {known}; name folders as they are "
            "named there, with --videos NAME=FOLDER"
        )
    return Agreement(source=str(source), rows=rows)
