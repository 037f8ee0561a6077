"""How many words are read right, and how sure that is."""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
RESAMPLES = 2000
SHARE = 0.95


def accuracy(read: NDArray[np.integer], said: NDArray[np.integer]) -> float:
    """Share of words [n] that were read as what was said; NaN for none."""
    if read.shape != said.shape:
        raise ValueError(f"accuracy: expected as many words read as said, found {read.shape} and {said.shape}")
    return float(np.mean(read == said)) if len(said) else float("nan")


def chosen_among(scores: NDArray[np.floating], allowed: NDArray[np.bool_]) -> I64:
    """The best class [n] of scores [n c] among those that `allowed` [n c] leaves."""
    return np.asarray(np.where(allowed, scores, -np.inf).argmax(axis=1), dtype=np.int64)


def confusions(read: NDArray[np.integer], said: NDArray[np.integer], classes: int) -> I64:
    """How often each class [row] was read as each class [column]."""
    found = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(found, (said, read), 1)
    return found


def resampled_sums(values: F64, seed: int = 0, resamples: int = RESAMPLES) -> F64:
    """Sums [resamples k] of as many rows of [n k] as there are, drawn with replacement.

    Rows are clips, not words: the words of a clip share its light, its face and its faults, so that words drawn one by
    one would seem surer than they are (Efron and Tibshirani, 1993, on clustered data).
    """
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=resamples)
    return np.asarray(times @ values, dtype=np.float64)


def share_interval(parts: F64, wholes: F64, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of sum(parts) / sum(wholes), both [n], one value a clip.

    NaN where there is nothing; a draw whose whole is 0 has no share and is left out.
    """
    if not len(parts) or not wholes.any():
        return float("nan"), float("nan")
    sums = resampled_sums(np.stack([parts, wholes], axis=1).astype(np.float64), seed)
    sums = sums[sums[:, 1] > 0]
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)
