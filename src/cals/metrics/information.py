"""Mutual information of labels, and perplexity of distributions."""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def mutual_information(first: I64, second: I64) -> float:
    """Compute the mutual information in bits of two labels from 0 up, [n] each; biased upwards for few samples.

    The value for shuffled labels is the level of chance.
    """
    joint = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(joint, (first, second), 1 / len(first))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    nonzero = joint > 0
    return float((joint[nonzero] * np.log2(joint[nonzero] / independent[nonzero])).sum())


def perplexity(shares: F64) -> F64:
    """Compute the perplexity [...] of distributions [... s]: 1 for a single non-zero share, s for equal shares."""
    logs = np.log2(np.where(shares > 0, shares, 1.0))
    result: F64 = np.exp2(-(shares * logs).sum(axis=-1))
    return result
