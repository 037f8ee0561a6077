"""The losses of an Audio-Lip Memory."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cals.losses.memory import align_loss, feature_distance, store_loss
from cals.models.synctalk import MemoryOutput
from cals.training.stage import Losses


@dataclass(frozen=True, kw_only=True)
class MemoryLossConfig:
    """Weights, 0 for none (paper section 2, [A])."""

    store: float = 0.2
    align: float = 0.2
    d_lips: float = 0.2
    """Weight of the visual-visual sync loss (d_vv in CALS): L1 of lip features, for each of the two generations."""


def compute_memory_losses(config: MemoryLossConfig, encoder: nn.Module, stored: MemoryOutput, real: Tensor) -> Losses:
    """Compute the losses by name, weighted; `encoder` is the model's own, `real` the stored crops [b t 3 h w]."""
    losses = {}
    if config.store:
        losses["store"] = config.store * store_loss(stored.recalled, stored.lips)
    if config.align:
        losses["align"] = config.align * align_loss(stored.value_address, stored.key_address)
    if config.d_lips:
        both = torch.cat([stored.by_lips, stored.by_audio])
        losses["d_lips"] = 2 * config.d_lips * feature_distance(encoder, both, real)
    return losses
