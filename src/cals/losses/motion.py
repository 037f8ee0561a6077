"""Loss of predicted motion curves."""

from torch import Tensor


def concordance_loss(pred: Tensor, real: Tensor) -> Tensor:
    """Compute 1 minus Lin's concordance over time, mean over the rest; [... t]. 0 when equal.

    Unlike a squared error, it does not decrease when the motion is smaller than the real curve's (Lin, 1989).
    """
    pred_mean, real_mean = pred.mean(dim=-1, keepdim=True), real.mean(dim=-1, keepdim=True)
    pred_centred, real_centred = pred - pred_mean, real - real_mean
    covariance = 2 * (pred_centred * real_centred).mean(dim=-1)
    variance = pred_centred.square().mean(dim=-1) + real_centred.square().mean(dim=-1)
    bias = (pred_mean - real_mean).squeeze(-1).square()
    return (1 - covariance / (variance + bias + 1e-4)).mean()
