"""How many words are read right, and how well scores tell two kinds apart."""

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


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


def ranking_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive [n] scores above another, ties count half; NaN for one kind."""
    if scores.shape != positive.shape or scores.ndim != 1:
        raise ValueError(f"ranking_auc: expected one score a label, found {scores.shape} and {positive.shape}")
    high, low = scores[positive], np.sort(scores[~positive])
    if not len(high) or not len(low):
        return float("nan")
    below, up_to = (np.searchsorted(low, high, side=side) for side in ("left", "right"))
    return float(np.mean(below + up_to) / (2 * len(low)))
