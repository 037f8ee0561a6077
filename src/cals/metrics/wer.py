"""Word error rate: how many edits turn what was said into what was read, for every word said (Levenshtein, 1966)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cals.metrics.bootstrap import F64, Estimate, share_estimate

Pairs = Sequence[tuple[str, str]]
"""What was said and what was read, a pair a clip, normalised alike."""


class Edits(NamedTuple):
    """The least edits between two sequences; of several ways the one with the most substitutions."""

    substitutions: int = 0
    insertions: int = 0
    """Read, but not said."""
    deletions: int = 0
    """Said, but not read."""

    @property
    def errors(self) -> int:
        return sum(self)


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """Over all clips."""

    rate: Estimate
    """Errors over words said, both summed over the clips; above 1 where much is read that nobody said."""
    words: int
    edits: Edits


def edit_distance(said: Sequence[object], read: Sequence[object]) -> Edits:
    """Count the edits from `said` to `read`: of words, or of characters where these are strings."""
    # A gap costs 1 more than a substitution of `unit`: the sum tells the least errors, and among them the least gaps.
    unit = len(said) + len(read) + 1
    row = [place * (unit + 1) for place in range(len(read) + 1)]
    for one in said:
        above, row = row, [row[0] + unit + 1]
        for place, other in enumerate(read, start=1):
            either = above[place - 1] + (0 if one == other else unit)
            row.append(min(either, above[place] + unit + 1, row[-1] + unit + 1))
    errors, gaps = divmod(row[-1], unit)
    more = len(read) - len(said)
    return Edits(substitutions=errors - gaps, insertions=(gaps + more) // 2, deletions=(gaps - more) // 2)


def word_error_rate(pairs: Pairs, seed: int = 0) -> WordErrors:
    """Compute the word error rate of a corpus: summed errors over summed words, not the mean of the clips' rates.

    The interval is a bootstrap over clips; NaN where no word was said.
    """
    edits = [edit_distance(said.split(), read.split()) for said, read in pairs]
    words = _words(pairs)
    return WordErrors(
        rate=share_estimate(np.array([edit.errors for edit in edits], dtype=np.float64), words, seed),
        words=int(words.sum()),
        edits=Edits(*(sum(column) for column in zip(*edits, strict=True))),
    )


def compare_word_errors(first: Pairs, second: Pairs, seed: int = 0) -> Estimate:
    """Estimate how much higher the second system's word error rate is than the first's, on the same clips in order.

    Paired: each draw takes the same clips of both, so what is hard for both of them cancels out.
    """
    if [said for said, _ in first] != [said for said, _ in second]:
        raise ValueError("word errors: expected the same sentences of both systems, found others; pair them by clip")
    more = [
        edit_distance(said.split(), after.split()).errors - edit_distance(said.split(), before.split()).errors
        for (said, before), (_, after) in zip(first, second, strict=True)
    ]
    return share_estimate(np.array(more, dtype=np.float64), _words(first), seed)


def _words(pairs: Pairs) -> F64:
    return np.array([len(said.split()) for said, _ in pairs], dtype=np.float64)
