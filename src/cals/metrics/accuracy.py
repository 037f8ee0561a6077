"""Classification metrics: accuracy, confusions, and the area under the ROC curve."""

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


def accuracy(pred: NDArray[np.integer], target: NDArray[np.integer]) -> float:
    """Compute the share of predicted labels [n] that equal the target; NaN for none."""
    if pred.shape != target.shape:
        raise ValueError(f"accuracy: expected as many words read as said, found {pred.shape} and {target.shape}")
    return float(np.mean(pred == target)) if len(target) else float("nan")


def argmax_where(scores: NDArray[np.floating], allowed: NDArray[np.bool_]) -> I64:
    """Return the best class [n] of scores [n c] among those that `allowed` [n c] permits."""
    return np.asarray(np.where(allowed, scores, -np.inf).argmax(axis=1), dtype=np.int64)


def count_confusions(pred: NDArray[np.integer], target: NDArray[np.integer], classes: int) -> I64:
    """Count how often each target class [row] was predicted as each class [column]."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (target, pred), 1)
    return matrix


def ranking_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Compute the area under the ROC curve: how often a positive [n] scores above a negative, ties count half.

    NaN where one of the two classes is empty.
    """
    if scores.shape != positive.shape or scores.ndim != 1:
        raise ValueError(f"ranking_auc: expected one score a label, found {scores.shape} and {positive.shape}")
    high, low = scores[positive], np.sort(scores[~positive])
    if not len(high) or not len(low):
        return float("nan")
    below, up_to = (np.searchsorted(low, high, side=side) for side in ("left", "right"))
    return float(np.mean(below + up_to) / (2 * len(low)))
