"""The game of generator and discriminator (Goodfellow et al., 2014): binary cross entropy of logits."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Mean of the cross entropies of real logits with 1 and of generated ones with 0, any shape. Chance is log 2."""
    return (softplus(-real).mean() + softplus(generated).mean()) / 2


def generator_loss(generated: Tensor) -> Tensor:
    """Cross entropy of generated pictures' logits with 1, the form that does not saturate, any shape."""
    return softplus(-generated).mean()


def feature_matching(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of a discriminator's features, level by level (Wang et al., 2018); 0 when equal.

    Only `generated` gets a gradient.
    """
    return torch.stack([(a - b.detach()).abs().mean() for a, b in zip(generated, real, strict=True)]).mean()
