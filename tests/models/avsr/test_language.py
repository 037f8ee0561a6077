"""n-gram probabilities: sums, values computed by hand, and the textbook's recursion."""

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cals.errors import CheckpointError, ConfigError, DataError
from cals.models.avsr.language import fit_ngram, ngram_from_tensors

SIZE, END = 6, 5


def sample_sentences(seed: int, count: int = 20) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 7, (count,), generator=generator).tolist()
    return [torch.randint(1, END, (length,), generator=generator).tolist() for length in lengths]


def probability(sentences: list[list[int]], context: tuple[int, ...], token: int) -> float:
    """Compute Witten-Bell probabilities by recursion over the sentences."""
    n = len(context)
    seen: Counter[int] = Counter()
    for line in ([END, *sentence, END] for sentence in sentences):
        seen.update(line[i] for i in range(max(n, 1), len(line)) if tuple(line[i - n : i]) == context)
    below = probability(sentences, context[1:], token) if context else 1 / (SIZE - 1)
    return (seen[token] + len(seen) * below) / (seen.total() + len(seen)) if seen else below


def test_a_bigram_by_hand() -> None:
    """Check `1 2` and `1 1`: 1 occurs three times, 2 once, the end twice; after 1 come 2, 1 and the end, once each."""
    model = fit_ngram([[1, 2], [1, 1]], 2, 4)
    # Three kinds in six tokens: (count + 3 * 1/3) / (6 + 3).
    unigram = {1: 4 / 9, 2: 2 / 9, 3: 3 / 9}
    found = model.next_log_probs(torch.tensor([[3, 1], [3, 2]])).exp()
    after_1 = [(1 + 3 * unigram[token]) / (3 + 3) for token in (1, 2, 3)]
    after_2 = [unigram[1] / 2, unigram[2] / 2, (1 + unigram[3]) / 2]  # the end alone, once
    assert found.tolist() == [pytest.approx([0, *after_1]), pytest.approx([0, *after_2])]
    after_start = math.log((2 + unigram[1]) / 3)
    total = after_start + math.log(after_1[1]) + math.log(after_2[2])
    assert model.compute_perplexity([[1, 2]]) == pytest.approx(math.exp(-total / 3))
    assert math.isnan(model.compute_perplexity([]))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_recursion_and_sums_of_one(order: int) -> None:
    sentences = sample_sentences(order)
    model = fit_ngram(sentences, order, SIZE)
    assert model.order == order
    for length in range(5):
        after = torch.randint(1, END, (8, length), generator=torch.Generator().manual_seed(9))
        prefixes = torch.cat([torch.full((8, 1), END), after], dim=1)
        found = model.next_log_probs(prefixes).exp()
        assert found.sum(dim=1).tolist() == pytest.approx([1] * 8)
        for row, prefix in zip(found.tolist(), prefixes.tolist(), strict=True):
            context = tuple(prefix[max(0, len(prefix) - order + 1) :]) if order > 1 else ()
            wanted = [probability(sentences, context, token) for token in range(1, SIZE)]
            assert row == pytest.approx([0, *wanted], abs=1e-6)


def test_more_context_tells_more_of_a_grammar() -> None:
    """Check sentences of a repeated 1 or 2: the third token depends on the previous two."""
    sentences = [[a, b, a] for a in (1, 2) for b in (3, 4)] * 25
    found = [fit_ngram(sentences, order, SIZE).compute_perplexity(sentences) for order in (1, 2, 3)]
    assert found[0] > found[1] > found[2]
    assert found[2] == pytest.approx(math.exp(2 * math.log(2) / 4), rel=0.05)  # two free choices in four tokens


@pytest.mark.parametrize("order", [1, 2, 4])
def test_perplexity_is_of_every_token(order: int) -> None:
    model, others = fit_ngram(sample_sentences(0), order, SIZE), sample_sentences(1)
    lines = [[END, *sentence, END] for sentence in others]
    told = [
        float(model.next_log_probs(torch.tensor([line[:place]]))[0, line[place]])
        for line in lines
        for place in range(1, len(line))
    ]
    assert model.compute_perplexity(others) == pytest.approx(math.exp(-sum(told) / len(told)))


def test_sentences_shorter_than_the_order() -> None:
    assert fit_ngram([[], [1]], 6, SIZE).order == 3  # what is longest before a token is the start and 1
    assert fit_ngram([[]], 6, SIZE).compute_perplexity([[]]) < SIZE - 1


def test_it_survives_a_file(tmp_path: Path) -> None:
    model = fit_ngram(sample_sentences(0), 3, SIZE)
    save_file(model.to_tensors(), tmp_path / "model.safetensors")
    found = ngram_from_tensors(load_file(tmp_path / "model.safetensors"))
    assert (found.order, found.vocabulary_size) == (3, SIZE)
    prefixes = torch.tensor([[END, 1, 2], [END, 4, 4]])
    assert torch.equal(found.next_log_probs(prefixes), model.next_log_probs(prefixes))


@pytest.mark.parametrize("name", ["vocabulary_size", "0_keys", "1_starts", "2_shares"])
def test_a_part_that_is_missing_is_noticed(name: str) -> None:
    tensors = fit_ngram(sample_sentences(0), 3, SIZE).to_tensors()
    del tensors[name]
    with pytest.raises(CheckpointError, match="n-gram: expected"):
        ngram_from_tensors(tensors)


def test_what_does_not_fit_is_refused() -> None:
    for order, size in ((0, SIZE), (13, 40)):
        with pytest.raises(ConfigError, match="choose a lower order"):
            fit_ngram([[1]], order, size)
    for sentences in ([[0]], [[1, END]]):
        with pytest.raises(DataError, match=r"tokens in 1\.\.4"):
            fit_ngram(sentences, 2, SIZE)
    with pytest.raises(DataError, match="expected sentences, found none"):
        fit_ngram([], 2, SIZE)
