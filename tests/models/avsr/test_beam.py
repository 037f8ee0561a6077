"""Beam search against all sentences, and CTC against all paths."""

import math
from itertools import groupby, product

import pytest
import torch
from torch import Tensor

from cals.errors import ConfigError, DataError
from cals.models.avsr.beam import BeamConfig, NextLogProbs, align_ctc, search_beam, start_prefixes
from cals.models.avsr.language import fit_ngram
from cals.models.avsr.tokens import BLANK

SIZE = 5
END = SIZE - 1
FRAMES = 4
WIDE = 10_000
"""A beam that keeps all prefixes."""


def sample_log_probs(seed: int, *shape: int, sharpness: float = 2.0) -> Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double() * sharpness).log_softmax(-1)


class Decoder:
    """A model whose next token depends on the previous two and the position, by a random table."""

    def __init__(self, seed: int) -> None:
        self.table = sample_log_probs(seed, FRAMES + 1, SIZE, SIZE, SIZE)

    def __call__(self, tokens: Tensor) -> Tensor:
        before = tokens[:, -2] if tokens.shape[1] > 1 else torch.zeros(len(tokens), dtype=torch.int64)
        return self.table[tokens.shape[1] - 1, before, tokens[:, -1]]


def collapse_path(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in groupby(path) if token != BLANK)


def sum_paths(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Sum each sentence's CTC probability over all paths; some have the end token, which networks give a little."""
    sums: dict[tuple[int, ...], float] = {}
    for path in product(range(SIZE), repeat=len(log_probs)):
        probability = math.exp(sum(float(log_probs[i, token]) for i, token in enumerate(path)))
        sums[collapse_path(path)] = sums.get(collapse_path(path), 0) + probability
    return sums


def list_sentences(longest: int) -> list[tuple[int, ...]]:
    return [sentence for length in range(longest + 1) for sentence in product(range(1, END), repeat=length)]


def sum_chain(source: NextLogProbs) -> dict[tuple[int, ...], float]:
    """Compute the log probability of each sentence, end included, by a decoder or a language model."""
    sums = {}
    for length in range(FRAMES + 1):
        found = [sentence for sentence in list_sentences(length) if len(sentence) == length]
        lines = torch.tensor([[END, *sentence, END] for sentence in found])
        steps = [source(lines[:, :i]).gather(1, lines[:, i : i + 1]) for i in range(1, length + 2)]
        sums |= dict(zip(found, torch.cat(steps, dim=1).sum(dim=1).tolist(), strict=True))
    return sums


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weight", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize(("language", "bonus"), [(False, 0.0), (True, 0.0), (True, 1.5), (False, -0.5)])
def test_it_finds_what_an_exhaustive_search_finds(seed: int, weight: float, language: bool, bonus: float) -> None:
    log_probs = sample_log_probs(seed, FRAMES, SIZE)
    decoder = Decoder(seed + 100)
    model = fit_ngram([[1, 2, 3], [3, 3], [2, 1]] * (seed + 1), 3, SIZE)
    config = BeamConfig(beam=WIDE, ctc_weight=weight, language_weight=0.5, length_bonus=bonus)
    ctc = {sentence: math.log(probability) for sentence, probability in sum_paths(log_probs).items()}
    attention, spoken = sum_chain(decoder), sum_chain(model.next_log_probs)
    scores = {}
    for sentence in attention:
        scores[sentence] = (1 - weight) * attention[sentence] + bonus * len(sentence)
        scores[sentence] += weight * ctc.get(sentence, -math.inf) if weight else 0
        scores[sentence] += 0.5 * spoken[sentence] if language else 0
    best = max(scores, key=lambda sentence: scores[sentence])
    found = search_beam(log_probs, None if weight == 1 else decoder, config, model.next_log_probs if language else None)
    assert found[0].tokens == best
    assert [one.score for one in found] == pytest.approx([scores[one.tokens] for one in found], abs=1e-5)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len({one.tokens for one in found}) == len(found)
    parts = {"attention": attention[best]} if weight < 1 else {}
    parts |= {"language": spoken[best]} if language else {}
    parts |= {"ctc": ctc[best]} if weight else {}
    assert found[0].parts == pytest.approx(parts)


@pytest.mark.parametrize("seed", range(4))
def test_prefix_scores_are_sums_over_paths(seed: int) -> None:
    log_probs = sample_log_probs(seed, FRAMES, SIZE)
    sums = sum_paths(log_probs)
    for prefix in list_sentences(3):
        prefixes = start_prefixes(log_probs)
        for token in prefix:
            prefixes = prefixes.extend(torch.tensor([0]), torch.tensor([token]), log_probs)
        found = prefixes.score(log_probs)[0]
        for token in range(1, END):
            begun = (*prefix, token)
            wanted = sum(value for sentence, value in sums.items() if sentence[: len(begun)] == begun)
            assert math.exp(float(found[token])) == pytest.approx(wanted, rel=1e-9, abs=1e-300)
        assert math.exp(float(found[END])) == pytest.approx(sums.get(prefix, 0), rel=1e-9, abs=1e-300)
        assert found[BLANK] == -torch.inf


def test_ctc_of_a_sentence_is_that_of_the_loss() -> None:
    """Check 75 frames and 40 tokens, which have too many paths to enumerate."""
    log_probs = sample_log_probs(0, 75, 40)
    sentence = [5, 5, 7, 1, 1, 1, 38, *range(2, 30)]
    prefixes = start_prefixes(log_probs)
    for token in sentence:
        prefixes = prefixes.extend(torch.tensor([0]), torch.tensor([token]), log_probs)
    loss = torch.nn.functional.ctc_loss(
        log_probs[:, None], torch.tensor([sentence]), [75], [len(sentence)], blank=BLANK, reduction="sum"
    )
    assert float(prefixes.score(log_probs)[0, -1]) == pytest.approx(-float(loss))


def test_a_narrow_beam_keeps_the_best_of_each_length() -> None:
    """Check that beam 1 is greedy, and that a larger beam finds nothing worse."""
    decoder = Decoder(3)
    greedy: list[int] = []
    while len(greedy) < FRAMES:
        greedy.append(int(decoder(torch.tensor([[END, *greedy]]))[0, 1:END].argmax()) + 1)
    log_probs = sample_log_probs(0, FRAMES, SIZE)
    scores = []
    for beam in (1, 3, WIDE):
        found = search_beam(log_probs, decoder, BeamConfig(beam=beam, ctc_weight=0))
        assert len(found) <= beam
        scores.append(found[0].score)
        if beam == 1:
            assert found[0].tokens == tuple(greedy[: len(found[0].tokens)])
    assert scores == sorted(scores)


def test_the_decoder_may_go_on_for_longer_than_ctc_can() -> None:
    def babble(tokens: Tensor) -> Tensor:
        probs = torch.tensor([0.0, 0.9, 0.05, 0.04, 0.01]).log()
        return probs.expand(len(tokens), SIZE)

    config = BeamConfig(beam=4, ctc_weight=0, length_bonus=1, max_length_ratio=2.0)
    assert search_beam(sample_log_probs(0, FRAMES, SIZE), babble, config)[0].tokens == (1,) * 8


def test_it_waits_for_a_bonus_that_comes_late() -> None:
    """Check a bonus that only four sure tokens make larger than the cost of an unlikely first one."""
    first, later = torch.full((SIZE,), -20.0), torch.full((SIZE,), -20.0)
    first[1], later[1], first[END], later[END] = -4, 0, -1, -1

    def hesitant(tokens: Tensor) -> Tensor:
        return (first if tokens.shape[1] == 1 else later).expand(len(tokens), SIZE)

    found = search_beam(sample_log_probs(0, FRAMES, SIZE), hesitant, BeamConfig(ctc_weight=0, length_bonus=1.2))
    assert (found[0].tokens, found[0].score) == ((1,) * FRAMES, pytest.approx(1.2 * FRAMES - 5))
    assert search_beam(sample_log_probs(0, FRAMES, SIZE), hesitant, BeamConfig(ctc_weight=0))[0].tokens == ()


def test_what_is_impossible_is_not_found() -> None:
    log_probs = torch.full((3, SIZE), -torch.inf)
    log_probs[:, 2] = 0
    found = search_beam(log_probs, None, BeamConfig(ctc_weight=1))
    assert [(one.tokens, one.score) for one in found] == [((2,), 0)]
    assert search_beam(torch.full((3, SIZE), -torch.inf), None, BeamConfig(ctc_weight=1)) == []


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tokens", [(1,), (1, 1), (3, 1, 2), (2, 2, 3), (1, 2, 1)])
def test_alignment_is_the_best_of_all_paths(seed: int, tokens: tuple[int, ...]) -> None:
    log_probs = sample_log_probs(seed, 5, SIZE)
    paths = [path for path in product(range(END), repeat=5) if collapse_path(path) == tokens]
    best = max(paths, key=lambda path: sum(float(log_probs[i, token]) for i, token in enumerate(path)))
    wanted, at = [], 0
    for token, frames in groupby(best):
        length = len(list(frames))
        if token != BLANK:
            wanted.append((at, at + length))
        at += length
    assert align_ctc(log_probs, tokens) == wanted


def test_alignment_needs_its_frames() -> None:
    log_probs = sample_log_probs(0, 4, SIZE)
    assert align_ctc(log_probs, [1, 2, 2]) == [(0, 1), (1, 2), (3, 4)]
    assert align_ctc(log_probs, []) == []
    with pytest.raises(DataError, match="expected 5 frames or more .* found 4"):
        align_ctc(log_probs, [1, 2, 2, 3])


def test_what_does_not_fit_is_refused() -> None:
    for values in ({"beam": 0}, {"ctc_weight": 1.1}, {"language_weight": -1.0}, {"max_length_ratio": 0.0}):
        with pytest.raises(ConfigError, match="beam search: expected a beam"):
            BeamConfig(**values)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a decoder for ctc_weight 0.1"):
        search_beam(sample_log_probs(0, FRAMES, SIZE), None, BeamConfig())
    for shape in ((0, SIZE), (1, FRAMES, SIZE)):
        with pytest.raises(DataError, match="of a frame or more"):
            search_beam(torch.zeros(shape), None, BeamConfig(ctc_weight=1))


@pytest.mark.parametrize(
    "values", [{"language_weight": math.nan}, {"length_bonus": math.inf}, {"max_length_ratio": math.nan}]
)
def test_weights_that_are_no_numbers_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="beam search: expected"):
        BeamConfig(**values)
