"""Targets and losses of a speech recogniser."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

IGNORE_INDEX = -100
"""Label of a position beyond a sentence's end."""


def shift_tokens(sentences: Sequence[Sequence[int]], end: int) -> tuple[Tensor, Tensor]:
    """Return a decoder's inputs [b n], beginning with `end`, and its targets [b n], ending with it."""
    longest = max(map(len, sentences)) + 1
    inputs = torch.full((len(sentences), longest), end)
    targets = torch.full((len(sentences), longest), IGNORE_INDEX)
    for row, tokens in enumerate(sentences):
        inputs[row, 1 : len(tokens) + 1] = torch.tensor(tokens, dtype=torch.long)
        targets[row, : len(tokens) + 1] = torch.tensor([*tokens, end])
    return inputs, targets


def batch_ctc(log_probs: Tensor, valid: Tensor, sentences: Sequence[Sequence[int]]) -> Tensor:
    """Compute the CTC loss (Graves et al., 2006) of `log_probs` [b t tokens], mean over tokens; index 0 is the blank.

    Sentences with more tokens than their clip has frames count as 0.
    """
    lengths = torch.tensor([len(tokens) for tokens in sentences])
    labels = torch.tensor([token for tokens in sentences for token in tokens], device=log_probs.device)
    frames = valid.sum(dim=1).cpu()
    return ctc_loss(log_probs.transpose(0, 1), labels, frames, lengths, zero_infinity=True)


def supervise_scores(scores: Mapping[str, Tensor], clean: Mapping[str, Tensor], valid: Tensor) -> Tensor:
    """Compute the cross-entropy of a frame's mean score against whether it is clean, mean over frames and streams.

    Scores are [b t channels] in 0..1 by stream, `clean` and `valid` are masks [b t].
    """
    losses = list[Tensor]()
    for stream, values in scores.items():
        mean = values.float().mean(dim=-1)
        likelihood = torch.where(clean[stream], mean, 1 - mean)[valid]
        losses.append(-likelihood.clamp_min(1e-6).log().mean())
    return torch.stack(losses).mean()
