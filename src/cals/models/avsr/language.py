"""An n-gram language model over tokens, interpolated as by Witten and Bell (1991); no library, nothing to compile.

`kenlm` is not used. It is published as source alone (0.3.0), so that its installation needs a C++ compiler. It also
scores one word at a time, while the search needs all next tokens of all hypotheses.

Witten-Bell is used rather than Kneser-Ney: its weights are plain counts. It also works for characters and for corpora
of a few words, whose counts of counts leave no discount.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cals.errors import CheckpointError, ConfigError, DataError


@dataclass(frozen=True, eq=False)
class _Level:
    """All contexts of one length, sorted by key; entries starts[i]:starts[i + 1] belong to context i."""

    keys: Tensor
    """[c] int64: the context's tokens as the digits of one number; the base is the size of the vocabulary."""
    starts: Tensor
    """[c + 1] int64"""
    backoff: Tensor
    """[c] Weight of the context without its first token: kinds / (times + kinds) of the tokens observed next."""
    tokens: Tensor
    """[e] int64: the tokens observed next."""
    shares: Tensor
    """[e] The token's count / (times + kinds)."""


@dataclass(frozen=True, eq=False)
class NGram:
    """Probabilities of the next token, given at most `order` - 1 previous tokens.

    Tokens are 1 to `vocabulary_size` - 1; the last one starts and ends each sentence, and 0, the blank, never occurs.
    """

    vocabulary_size: int
    levels: tuple[_Level, ...] = field(repr=False)
    """One level per length of the context, from 0 on."""

    @property
    def order(self) -> int:
        return len(self.levels)

    def next_log_probs(self, tokens: Tensor) -> Tensor:
        """Compute log probabilities [k v] of the next token after prefixes [k n]; they begin with a sentence's start.

        The result is on the CPU, whatever device the prefixes are on.
        """
        tokens = tokens.cpu()
        probs = torch.full((len(tokens), self.vocabulary_size), 1 / (self.vocabulary_size - 1))
        probs[:, 0] = 0
        rows = torch.arange(len(tokens))
        for length, level in enumerate(self.levels[: tokens.shape[1] + 1]):
            key = _compute_keys(tokens[:, tokens.shape[1] - length :], self.vocabulary_size)
            place = torch.searchsorted(level.keys, key).clamp_max(len(level.keys) - 1)
            known = level.keys[place] == key
            probs *= torch.where(known, level.backoff[place], 1.0)[:, None]
            first = level.starts[place]
            count = torch.where(known, level.starts[place + 1] - first, 0)
            row = rows.repeat_interleave(count)
            entry = torch.arange(len(row)) + (first - count.cumsum(0) + count)[row]
            probs[row, level.tokens[entry]] += level.shares[entry]
        return probs.log()

    def compute_perplexity(self, sentences: Iterable[Sequence[int]]) -> float:
        """Compute exp of the mean negative log probability of a token, ends of sentences included; NaN for none."""
        text, place = _concatenate(sentences, self.vocabulary_size)
        known = place.clamp_max(self.order - 1)
        total = 0.0
        for length in range(self.order):
            places = torch.nonzero((known == length) & (place > 0))[:, 0]
            for first in range(0, len(places), _CHUNK_SIZE):
                at = places[first : first + _CHUNK_SIZE]
                log_probs = self.next_log_probs(_slice_contexts(text, at, length))
                total += float(log_probs[torch.arange(len(at)), text[at]].double().sum())
        count = int((place > 0).sum())
        return math.exp(-total / count) if count else math.nan

    def to_tensors(self) -> dict[str, Tensor]:
        """Return all tensors, for a checkpoint's weights; `ngram_from_tensors` is the inverse."""
        tensors = {"vocabulary_size": torch.tensor([self.vocabulary_size])}
        for length, level in enumerate(self.levels):
            for name in _LEVEL_FIELDS:
                tensor = getattr(level, name)
                tensors[f"{length}_{name}"] = tensor.to(torch.int32) if name in _SHORT_FIELDS else tensor
        return tensors


_LEVEL_FIELDS = ("keys", "starts", "backoff", "tokens", "shares")
_SHORT_FIELDS = ("starts", "tokens")
"""Stored as int32: no corpus has so many words."""
_CHUNK_SIZE = 1024
"""Number of contexts whose probabilities are held in memory at once."""


def fit_ngram(sentences: Iterable[Sequence[int]], order: int, vocabulary_size: int) -> NGram:
    """Fit the model to a corpus of token sentences without starts and ends.

    Raises ConfigError for an order that is out of range and DataError for sentences that are not of these tokens.
    """
    if order < 1 or vocabulary_size < 3 or vocabulary_size**order > 2**63:
        raise ConfigError(
            f"n-gram: expected an order of 1 or more and vocabulary_size ** order within 63 bits, found order "
            f"{order} and {vocabulary_size} tokens; choose a lower order"
        )
    text, place = _concatenate(sentences, vocabulary_size)
    if not len(text):
        raise DataError("n-gram: expected sentences, found none; give a corpus whose transcripts are known")
    reached = min(order, int(place.max()) + 1)  # no context is longer than the longest sentence
    return NGram(vocabulary_size, tuple(_count_next(text, place, length, vocabulary_size) for length in range(reached)))


def _concatenate(sentences: Iterable[Sequence[int]], vocabulary_size: int) -> tuple[Tensor, Tensor]:
    """Concatenate sentences with starts and ends to one text [n]; returns also the positions in the sentences [n]."""
    end = vocabulary_size - 1
    lines = [[end, *sentence, end] for sentence in sentences]
    if any(not 0 < token < end for line in lines for token in line[1:-1]):
        raise DataError(
            f"n-gram: expected sentences of tokens in 1..{end - 1}, found others; encode them by the model's tokens"
        )
    text = torch.tensor([token for line in lines for token in line], dtype=torch.int64)
    return text, torch.tensor([number for line in lines for number in range(len(line))], dtype=torch.int64)


def _slice_contexts(text: Tensor, at: Tensor, length: int) -> Tensor:
    """Return the contexts [k length] of the tokens at positions [k]."""
    return text[at[:, None] + torch.arange(-length, 0)]


def _count_next(text: Tensor, place: Tensor, length: int, base: int) -> _Level:
    """Count the tokens that follow the contexts of one length."""
    at = torch.nonzero(place >= max(length, 1))[:, 0]
    context = _compute_keys(_slice_contexts(text, at, length), base)
    pairs, counts = torch.unique(context * base + text[at], return_counts=True)
    keys, kinds = torch.unique_consecutive(pairs // base, return_counts=True)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), kinds.cumsum(0)])
    times = torch.zeros(len(keys)).index_add_(0, torch.arange(len(keys)).repeat_interleave(kinds), counts.float())
    total = times + kinds
    return _Level(keys, starts, kinds / total, pairs % base, counts / total.repeat_interleave(kinds))


def _compute_keys(contexts: Tensor, base: int) -> Tensor:
    """Compute the keys [k] of contexts [k n]; 0 where n is 0."""
    keys = torch.zeros(len(contexts), dtype=torch.int64)
    for token in contexts.unbind(1):
        keys = keys * base + token
    return keys


def ngram_from_tensors(tensors: Mapping[str, Tensor]) -> NGram:
    """Build a model from the tensors of `NGram.to_tensors`; CheckpointError where one is missing or does not fit."""
    levels: list[_Level] = []
    while f"{len(levels)}_keys" in tensors:
        stored = {name: tensors.get(f"{len(levels)}_{name}", torch.empty(0)) for name in _LEVEL_FIELDS}
        level = _Level(**stored | {name: stored[name].to(torch.int64) for name in _SHORT_FIELDS})
        contexts, entries = len(level.keys), len(level.tokens)
        sizes = (len(level.starts), len(level.backoff), len(level.shares))
        if not contexts or sizes != (contexts + 1, contexts, entries) or int(level.starts[-1]) != entries:
            raise CheckpointError(
                f"n-gram: expected keys, starts, backoff, tokens and shares of contexts of {len(levels)} tokens that "
                "fit together, found others; copy or save the checkpoint anew"
            )
        levels.append(level)
    if not levels or "vocabulary_size" not in tensors:
        raise CheckpointError("n-gram: expected vocabulary_size and 0_keys, found none; fit it with `fit_ngram`")
    return NGram(int(tensors["vocabulary_size"]), tuple(levels))
