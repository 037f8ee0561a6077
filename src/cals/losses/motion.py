"""How well a curve follows another."""

from torch import Tensor


def concordance(said: Tensor, real: Tensor) -> Tensor:
    """1 minus Lin's concordance over time, mean over the rest; [... t]. 0 when equal.

    Unlike a squared error it is not made smaller by moving less than the real curve (Lin, 1989).
    """
    said_mean, real_mean = said.mean(dim=-1, keepdim=True), real.mean(dim=-1, keepdim=True)
    said_away, real_away = said - said_mean, real - real_mean
    shared = 2 * (said_away * real_away).mean(dim=-1)
    spread = said_away.square().mean(dim=-1) + real_away.square().mean(dim=-1)
    apart = (said_mean - real_mean).squeeze(-1).square()
    return (1 - shared / (spread + apart + 1e-4)).mean()
