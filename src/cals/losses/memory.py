"""What teaches a memory of lips (SyncTalkFace, arXiv 2211.00924; paper section 2)."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import mse_loss

from cals.losses.reconstruction import l1


def store_loss(recalled: Tensor, lips: Tensor) -> Tensor:
    """Mean squared error of what lip features recall against themselves, [... d] each; the features are a target."""
    return mse_loss(recalled, lips.detach())


def align_loss(value_address: Tensor, key_address: Tensor) -> Tensor:
    """Divergence KL(value || key) of two ways to address the slots, [... s] each, mean over the rest.

    The address by lips is a target: what is heard learns to find what was seen. Never negative, 0 when equal.
    """
    target = value_address.detach().clamp_min(1e-12)
    return (target * (target.log() - key_address.clamp_min(1e-12).log())).sum(dim=-1).mean()


def feature_distance(encoder: nn.Module, generated: Tensor, real: Tensor) -> Tensor:
    """L1 between an encoder's features of generated crops [b t 3 h w] and of the real ones, as many or a part as many.

    Only the generated crops learn from it: the encoder's weights and statistics stay as they are, and the real
    features are a target. All are encoded in one batch, so that its norms treat them alike.
    """
    state = {name: value.detach() for name, value in encoder.named_parameters()}
    state |= {name: value.clone() for name, value in encoder.named_buffers()}
    features: Tensor = functional_call(encoder, state, (torch.cat([real.detach(), generated]),))
    target, found = features[: len(real)].detach(), features[len(real) :]
    return l1(found, torch.cat([target] * (len(generated) // len(real))))
