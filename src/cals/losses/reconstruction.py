"""Reconstruction losses of units and of pixels."""

from torch import Tensor


def unit_loss(units: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Compute the squared error, summed over the unit's width, averaged by `weights` over steps; [b t d] twice, [b t].

    With weights 1 at masked steps and 0 elsewhere this is the published L_a2l (up to its constant).
    """
    per_step = (units - targets).square().sum(dim=-1)
    return (per_step * weights).sum() / weights.sum().clamp_min(1e-6)


def l1(generated: Tensor, real: Tensor) -> Tensor:
    """Compute the mean absolute difference of images of one shape."""
    return (generated - real).abs().mean()
