"""Word error rate: edits from the reference to the hypothesis, per reference word (Levenshtein, 1966)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cals.metrics.bootstrap import F64, Estimate, estimate_ratio

Pairs = Sequence[tuple[str, str]]
"""Reference and hypothesis, one pair per clip, normalised alike."""


class Edits(NamedTuple):
    """The fewest edits between two sequences; of several alignments the one with the most substitutions."""

    substitutions: int = 0
    insertions: int = 0
    """In the hypothesis, but not in the reference."""
    deletions: int = 0
    """In the reference, but not in the hypothesis."""

    @property
    def errors(self) -> int:
        return sum(self)


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """Word error rate and edits over all clips."""

    rate: Estimate
    """Errors over reference words, both summed over the clips; above 1 with many insertions."""
    words: int
    edits: Edits


def edit_distance(reference: Sequence[object], hypothesis: Sequence[object]) -> Edits:
    """Count the edits from `reference` to `hypothesis`: of words, or of characters where these are strings."""
    # A gap costs 1 more than a substitution of `unit`: the minimum has the fewest errors, and among them fewest gaps.
    unit = len(reference) + len(hypothesis) + 1
    row = [column * (unit + 1) for column in range(len(hypothesis) + 1)]
    for token in reference:
        above, row = row, [row[0] + unit + 1]
        for column, other_token in enumerate(hypothesis, start=1):
            substitution = above[column - 1] + (0 if token == other_token else unit)
            row.append(min(substitution, above[column] + unit + 1, row[-1] + unit + 1))
    errors, gaps = divmod(row[-1], unit)
    extra = len(hypothesis) - len(reference)
    return Edits(substitutions=errors - gaps, insertions=(gaps + extra) // 2, deletions=(gaps - extra) // 2)


def word_error_rate(pairs: Pairs, seed: int = 0) -> WordErrors:
    """Compute the word error rate of a corpus: summed errors over summed words, not the mean of the clips' rates.

    The interval is a bootstrap over clips; NaN without reference words.
    """
    edits = [edit_distance(reference.split(), hypothesis.split()) for reference, hypothesis in pairs]
    words = _words(pairs)
    return WordErrors(
        rate=estimate_ratio(np.array([edit.errors for edit in edits], dtype=np.float64), words, seed),
        words=int(words.sum()),
        edits=Edits(*(sum(column) for column in zip(*edits, strict=True))),
    )


def compare_word_errors(first: Pairs, second: Pairs, seed: int = 0) -> Estimate:
    """Estimate how much higher the second system's word error rate is than the first's, on the same clips in order.

    Paired: each resample takes the same clips of both, so clips that are hard for both cancel out.
    """
    if [reference for reference, _ in first] != [reference for reference, _ in second]:
        raise ValueError("word errors: expected the same sentences of both systems, found others; pair them by clip")
    extra_errors = [
        edit_distance(reference.split(), second_hypothesis.split()).errors
        - edit_distance(reference.split(), first_hypothesis.split()).errors
        for (reference, first_hypothesis), (_, second_hypothesis) in zip(first, second, strict=True)
    ]
    return estimate_ratio(np.array(extra_errors, dtype=np.float64), _words(first), seed)


def _words(pairs: Pairs) -> F64:
    return np.array([len(reference.split()) for reference, _ in pairs], dtype=np.float64)
