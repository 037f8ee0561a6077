"""What a recogniser's outputs are compared with."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

IGNORED = -100
"""Label of a place beyond a sentence's end."""


def shift_tokens(sentences: Sequence[Sequence[int]], end: int) -> tuple[Tensor, Tensor]:
    """What a decoder is told [b n], beginning with `end`, and what it is to say next [b n], ending with it."""
    longest = max(map(len, sentences)) + 1
    before = torch.full((len(sentences), longest), end)
    after = torch.full((len(sentences), longest), IGNORED)
    for row, tokens in enumerate(sentences):
        before[row, 1 : len(tokens) + 1] = torch.tensor(tokens, dtype=torch.long)
        after[row, : len(tokens) + 1] = torch.tensor([*tokens, end])
    return before, after


def batch_ctc(log_probs: Tensor, valid: Tensor, sentences: Sequence[Sequence[int]]) -> Tensor:
    """CTC loss (Graves et al., 2006) of `log_probs` [b t tokens], a mean over the tokens; index 0 is the blank.

    Sentences with more tokens than their clip has frames count nothing.
    """
    lengths = torch.tensor([len(tokens) for tokens in sentences])
    labels = torch.tensor([token for tokens in sentences for token in tokens], device=log_probs.device)
    frames = valid.sum(dim=1).cpu()
    return ctc_loss(log_probs.transpose(0, 1), labels, frames, lengths, zero_infinity=True)
