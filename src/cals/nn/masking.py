"""Span masks for masked prediction."""

import numpy as np
from numpy.typing import NDArray


def sample_span_mask(length: int, rng: np.random.Generator, *, budget: float = 0.8, span: int = 5) -> NDArray[np.bool_]:
    """Sample a mask [length], True where hidden, of spans of `span` steps each.

    There are as many spans as would cover `budget` of the steps if none overlapped (AV-HuBERT). Spans do overlap, so
    fewer steps are hidden. At least one span is hidden, and at least one step stays visible.
    """
    mask = np.zeros(length, dtype=bool)
    spans = max(1, round(budget * length / span))
    for start in rng.integers(0, max(1, length - span + 1), size=spans):
        mask[start : start + span] = True
    if mask.all():
        mask[rng.integers(length)] = False
    return mask
