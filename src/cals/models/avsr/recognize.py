"""From encoded clips to text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from cals.models.avsr.beam import BeamConfig, Hypothesis, align_ctc, search_beam
from cals.models.avsr.language import NGram
from cals.models.avsr.network import AVSR, Encoding
from cals.models.avsr.tokens import Tokens


class WordTime(NamedTuple):
    """A word and its frames, the last one not included."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, eq=False)
class Recognition:
    """What is read in one clip."""

    text: str
    hypothesis: Hypothesis
    log_probs: Tensor = field(repr=False)
    """CTC's [t tokens]."""

    def words(self, tokens: Tokens) -> list[WordTime]:
        """The words with their times, by forced alignment with CTC."""
        spans = align_ctc(self.log_probs, self.hypothesis.tokens)
        return group_words(tokens, self.hypothesis.tokens, spans)


@torch.no_grad()
def recognize(model: AVSR, encoding: Encoding, config: BeamConfig, language: NGram | None = None) -> list[Recognition]:
    """Read each clip of `encoding` by beam search over CTC, the decoder and the language model."""
    tokens, found = model.config.tokens, []
    for log_probs, features, valid in zip(model.ctc(encoding), encoding.features, encoding.valid, strict=True):
        frames = int(valid.sum())

        def follow(prefixes: Tensor, clip: Tensor = features[:frames]) -> Tensor:
            """Log-probabilities [k tokens] of what follows prefixes [k n]."""
            memory = clip.expand(len(prefixes), *clip.shape)
            there = torch.ones(memory.shape[:2], dtype=torch.bool, device=clip.device)
            return model.decoder(prefixes.to(clip.device), memory, there)[:, -1].float().log_softmax(dim=-1).cpu()

        own = log_probs[:frames].cpu()
        best = search_beam(own, follow, config, None if language is None else language.next_log_probs)[0]
        found.append(Recognition(tokens.decode(best.tokens), best, own))
    return found


def group_words(tokens: Tokens, sentence: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[WordTime]:
    """The words that tokens make up, with their frames: a token each, or characters between spaces."""
    words: list[WordTime] = []
    starts_word = True
    for token, (start, end) in zip(sentence, spans, strict=True):
        text = tokens.decode([token])
        if text == " ":
            starts_word = True
        elif starts_word or tokens.unit == "words":
            words.append(WordTime(start, end, text))
            starts_word = False
        else:
            words[-1] = WordTime(words[-1].start, end, words[-1].text + text)
    return words
