"""Recognition: encoded clips to text, with the times of words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from cals.models.avsr.beam import BeamConfig, Hypothesis, search_beam
from cals.models.avsr.language import NGram
from cals.models.avsr.network import AVSR, Encoding
from cals.models.avsr.tokens import Tokens


class WordTime(NamedTuple):
    """A word and its range of frames, end excluded."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, eq=False)
class Recognition:
    """The recognised text of one clip."""

    text: str
    hypothesis: Hypothesis
    log_probs: Tensor = field(repr=False)
    """CTC's log probabilities [t tokens]."""


@torch.no_grad()
def recognize(model: AVSR, encoding: Encoding, config: BeamConfig, language: NGram | None = None) -> list[Recognition]:
    """Recognise each clip of `encoding` by beam search over CTC, the decoder and the language model."""
    tokens, results = model.config.tokens, []
    for log_probs, features, valid in zip(model.ctc(encoding), encoding.features, encoding.valid, strict=True):
        frames = int(valid.sum())

        def predict_next(prefixes: Tensor, clip: Tensor = features[:frames]) -> Tensor:
            """Compute log probabilities [k tokens] of the next token after prefixes [k n]."""
            memory = clip.expand(len(prefixes), *clip.shape)
            mask = torch.ones(memory.shape[:2], dtype=torch.bool, device=clip.device)
            return model.decoder(prefixes.to(clip.device), memory, mask)[:, -1].float().log_softmax(dim=-1).cpu()

        probs = log_probs[:frames].cpu()
        best = search_beam(probs, predict_next, config, None if language is None else language.next_log_probs)[0]
        results.append(Recognition(tokens.decode(best.tokens), best, probs))
    return results


def group_words(tokens: Tokens, sentence: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[WordTime]:
    """Group tokens into words with their frames: one token each, or the characters between spaces."""
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
