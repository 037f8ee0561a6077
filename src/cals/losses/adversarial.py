"""Losses of generator and discriminator (Goodfellow et al., 2014): binary cross entropy of logits."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Compute the mean cross entropy of real logits with 1 and generated ones with 0, any shape. Chance is log 2."""
    return (softplus(-real).mean() + softplus(generated).mean()) / 2


def generator_loss(generated: Tensor) -> Tensor:
    """Compute the cross entropy of generated pictures' logits with 1, the non-saturating form, any shape."""
    return softplus(-generated).mean()


def feature_matching(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Compute the mean absolute difference of a discriminator's features over levels (Wang et al., 2018); 0 when equal.

    Only `generated` receives a gradient.
    """
    return torch.stack([(a - b.detach()).abs().mean() for a, b in zip(generated, real, strict=True)]).mean()
