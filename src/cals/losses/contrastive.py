"""Symmetric InfoNCE between two sets of embeddings."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def info_nce(a: Tensor, b: Tensor, temperature: float = 0.07) -> Tensor:
    """Compute the mean of both directions' cross entropy; a[i] matches b[i], [n d] L2-normalised. Chance is log n.

    Oord et al., 2018; temperature 0.07 is ours (paper section 1 leaves it open).
    """
    logits = a @ b.T / temperature
    labels = torch.arange(len(a), device=a.device)
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def retrieval_accuracy(a: Tensor, b: Tensor) -> Tensor:
    """Compute the share of rows of a whose nearest row of b is their match, [n d] L2-normalised. Chance is 1 / n."""
    return ((a @ b.T).argmax(dim=1) == torch.arange(len(a), device=a.device)).float().mean()
