"""Word errors against a small reference that tries every alignment."""

import math
from functools import cache

import numpy as np
import pytest

from cals.metrics.wer import Edits, compare_word_errors, edit_distance, word_error_rate


def find_fewest_edits(reference: tuple[int, ...], hypothesis: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Count errors, gaps, insertions, deletions of the best of all alignments, by recursion from the front."""

    @cache
    def best(i: int, j: int) -> tuple[int, int, int, int]:
        options = []
        if i < len(reference) and j < len(hypothesis):
            wrong = int(reference[i] != hypothesis[j])
            options.append(tuple(a + b for a, b in zip(best(i + 1, j + 1), (wrong, 0, 0, 0), strict=True)))
        if j < len(hypothesis):
            options.append(tuple(a + b for a, b in zip(best(i, j + 1), (1, 1, 1, 0), strict=True)))
        if i < len(reference):
            options.append(tuple(a + b for a, b in zip(best(i + 1, j), (1, 1, 0, 1), strict=True)))
        return min(options, default=(0, 0, 0, 0))  # type: ignore[arg-type]

    return best(0, 0)


@pytest.mark.parametrize("seed", range(60))
def test_edits_are_the_least_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, hypothesis = (tuple(rng.integers(0, 3, rng.integers(0, 7)).tolist()) for _ in range(2))
    errors, gaps, insertions, deletions = find_fewest_edits(reference, hypothesis)
    result = edit_distance(reference, hypothesis)
    assert result == (errors - gaps, insertions, deletions)
    assert result.errors == errors


@pytest.mark.parametrize(
    ("read", "edits"),
    [
        ("bin blue at f two now", Edits()),
        ("bin blue by f two now", Edits(substitutions=1)),
        ("bin at f two now", Edits(deletions=1)),
        ("bin blue blue at f two now", Edits(insertions=1)),
        ("", Edits(deletions=6)),
    ],
)
def test_each_kind_of_edit(read: str, edits: Edits) -> None:
    reference = "bin blue at f two now"
    assert edit_distance(reference.split(), read.split()) == edits
    assert word_error_rate([(reference, read)]).edits == edits


def test_characters_are_counted_where_strings_are_given() -> None:
    assert edit_distance("kitten", "sitting") == Edits(substitutions=2, insertions=1)


def test_a_corpus_rate_is_of_sums() -> None:
    """One of one word wrong and none of nine is 10 %, not the mean of 100 % and 0 %."""
    result = word_error_rate([("yes", "no"), ("a b c d e f g h i", "a b c d e f g h i")])
    assert result.rate.value == pytest.approx(0.1)
    assert (result.words, result.edits) == (10, Edits(substitutions=1))
    assert word_error_rate([("so", "so it goes on")]).rate == (3, None, None)
    assert math.isnan(word_error_rate([]).rate.value)
    assert math.isnan(word_error_rate([("", "word")]).rate.value)


def test_the_interval_holds_the_rate_and_is_seeded() -> None:
    pairs = [("a b c d", "a b c d")] * 30 + [("a b c d", "a x c")] * 10
    result = word_error_rate(pairs, seed=1)
    assert result.edits == Edits(substitutions=10, deletions=10)
    assert result.rate.value == pytest.approx(20 / 160)
    assert result.rate.low is not None
    assert result.rate.high is not None
    # Each clip's rate is 0 or 1/2, so the mean of 40 of them spreads as a binomial share does.
    spread = 1.96 * 0.5 * math.sqrt(0.25 * 0.75 / 40)
    assert result.rate.low == pytest.approx(result.rate.value - spread, abs=0.015)
    assert result.rate.high == pytest.approx(result.rate.value + spread, abs=0.015)
    assert word_error_rate(pairs, seed=1) == result
    assert word_error_rate(pairs, seed=2) != result


def test_a_paired_difference_is_surer_than_two_rates() -> None:
    rng = np.random.default_rng(0)
    first, second = [], []
    for hard in rng.random(60) < 0.4:
        reference = "a b c d e f"
        first.append((reference, "x x x x e f" if hard else reference))
        second.append((reference, "x x x d e f" if hard else reference))
    difference = compare_word_errors(first, second)
    rates = [word_error_rate(pairs).rate for pairs in (first, second)]
    assert difference.value == pytest.approx(rates[1].value - rates[0].value)
    assert difference.high is not None
    assert difference.high < 0
    assert rates[0].low is not None
    assert rates[1].high is not None
    assert rates[1].high > rates[0].low  # unpaired they would not be told apart
    with pytest.raises(ValueError, match="expected the same sentences"):
        compare_word_errors(first, second[1:])
