"""Losses of the Audio-Lip Memory (SyncTalkFace, arXiv 2211.00924; paper section 2)."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import mse_loss

from cals.losses.reconstruction import l1


def store_loss(recalled: Tensor, lips: Tensor) -> Tensor:
    """Compute the mean squared error of recalled lip features against the features, [... d]; these are a target."""
    return mse_loss(recalled, lips.detach())


def align_loss(value_address: Tensor, key_address: Tensor) -> Tensor:
    """Compute the divergence KL(value || key) of two addresses of the slots, [... s] each, mean over the rest.

    The address by lips is a target, which the address by sound learns. Never negative, 0 when equal.
    """
    target = value_address.detach().clamp_min(1e-12)
    return (target * (target.log() - key_address.clamp_min(1e-12).log())).sum(dim=-1).mean()


def feature_distance(encoder: nn.Module, generated: Tensor, real: Tensor) -> Tensor:
    """Compute L1 between an encoder's features of generated crops [b t 3 h w] and of real ones; b may be a multiple.

    Only the generated crops receive a gradient: the encoder's weights and statistics do not change, and the real
    features are a target. All crops are encoded in one batch, so that its norms treat them alike.
    """
    state = {name: value.detach() for name, value in encoder.named_parameters()}
    state |= {name: value.clone() for name, value in encoder.named_buffers()}
    features: Tensor = functional_call(encoder, state, (torch.cat([real.detach(), generated]),))
    target, generated_features = features[: len(real)].detach(), features[len(real) :]
    return l1(generated_features, torch.cat([target] * (len(generated) // len(real))))
