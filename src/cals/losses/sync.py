"""Sync losses of generated mouths against their sound and the real mouths (paper section 1)."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy


def d_av(visual: Tensor, audio: Tensor) -> Tensor:
    """Compute the audio-visual distance, mean of -log((1 + cos) / 2); [n d] each. 0 when equal. The form is ours."""
    agreement = (1 + cosine_similarity(visual, audio, dim=-1)) / 2
    return -agreement.clamp_min(1e-6).log().mean()


def d_vv(generated: Tensor, real: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute the visual discriminative loss: mean over i of -log softmax_j cos(generated_i, real_j), positive j = i.

    [s d] each. Published without a temperature: 1.
    """
    cosines = torch.nn.functional.normalize(generated, dim=-1) @ torch.nn.functional.normalize(real, dim=-1).T
    return cross_entropy(cosines / temperature, torch.arange(len(generated), device=generated.device))
