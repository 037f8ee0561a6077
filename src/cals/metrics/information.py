"""How much one label says of another."""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def mutual_information(first: I64, second: I64) -> float:
    """Mutual information in bits of two labels from 0 up, [n] each, as counted: too high for few samples.

    What chance alone would count, labels that are shuffled tell.
    """
    joint = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(joint, (first, second), 1 / len(first))
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / apart[there])).sum())


def perplexity(shares: F64) -> F64:
    """How many places evenly used shares [... s] amount to: 1 for a single one, s for all alike; [...]."""
    logs = np.log2(np.where(shares > 0, shares, 1.0))
    found: F64 = np.exp2(-(shares * logs).sum(axis=-1))
    return found
