"""Baselines without pictures and sound: sentences of the language model alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cals.metrics.bootstrap import F64
from cals.metrics.wer import edit_distance
from cals.models.avsr.beam import BeamConfig, search_beam
from cals.models.avsr.language import NGram
from cals.models.avsr.tokens import Tokens

ROWS = ("grammar only: most probable", "grammar only: best guess", "grammar only: drawn")
"""Sentence that is given for every clip: see `Grammar`."""
SENTENCES, GUESSES = 200, 100
"""Number of sampled sentences that estimate the expected error, and how many of them are candidate guesses."""
BEAM, LONGEST = 200, 200
"""Width of the search for the most probable sentence, and the most tokens of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """Sentences of a language model."""

    probable: str
    """The most probable non-empty one: smoothing may leave silence more than any single sentence has."""
    guess: str
    """The one, among sampled and probable ones, with the fewest expected word errors."""
    drawn: tuple[str, ...]
    """Sentences sampled from the model."""

    def count_errors(self, said: str) -> tuple[float, float, float]:
        """Count word errors against the reference `said`, in the order of `ROWS`: of sampled sentences the mean."""
        drawn = np.mean([_count_errors(said, text) for text in self.drawn])
        return float(_count_errors(said, self.probable)), float(_count_errors(said, self.guess)), float(drawn)


def build_grammar(language: NGram, tokens: Tokens, seed: int) -> Grammar:
    """Build the baselines of a recogniser of these tokens from its language model."""
    probable = tokens.decode(find_probable_sentence(language))
    drawn = tuple(tokens.decode(sentence) for sentence in draw_sentences(language, seed, SENTENCES))
    return Grammar(probable=probable, guess=choose_guess([probable, *drawn[:GUESSES]], drawn), drawn=drawn)


def find_probable_sentence(language: NGram, beam: int = BEAM) -> tuple[int, ...]:
    """Find the most probable non-empty sentence, by beam search over the language model in place of a decoder."""

    def next_log_probs(prefixes: Tensor) -> Tensor:
        log_probs = language.next_log_probs(prefixes)
        if prefixes.shape[1] == 1:
            log_probs[:, -1] = -torch.inf
        return log_probs

    blank = torch.zeros(LONGEST, language.vocabulary_size)
    return search_beam(blank, next_log_probs, BeamConfig(beam=beam, ctc_weight=0.0, language_weight=0.0))[0].tokens


def draw_sentences(language: NGram, seed: int, count: int) -> list[list[int]]:
    """Sample independent sentences of the language model, cut after `LONGEST` tokens."""
    generator = torch.Generator().manual_seed(seed)
    end = language.vocabulary_size - 1
    tokens = torch.full((count, 1), end)
    ended = torch.zeros(count, dtype=torch.bool)
    for _ in range(LONGEST):
        next_tokens = torch.multinomial(language.next_log_probs(tokens).exp(), 1, generator=generator)[:, 0]
        ended |= next_tokens == end
        tokens = torch.cat([tokens, torch.where(ended, end, next_tokens)[:, None]], dim=1)
        if ended.all():
            break
    return [[token for token in line if token != end] for line in tokens.tolist()]


def choose_guess(guesses: Sequence[str], drawn: Sequence[str]) -> str:
    """Return the guess with the fewest word errors against the sampled sentences; of equals the first."""
    return min(dict.fromkeys(guesses), key=lambda guess: sum(_count_errors(text, guess) for text in drawn))


def count_grammar_errors(grammar: Grammar, said: Sequence[str]) -> F64:
    """Count expected word errors by clip, [n 3] in the order of `ROWS`."""
    return np.array([grammar.count_errors(text) for text in said], dtype=np.float64).reshape(-1, len(ROWS))


def _count_errors(reference: str, hypothesis: str) -> int:
    return edit_distance(reference.split(), hypothesis.split()).errors
