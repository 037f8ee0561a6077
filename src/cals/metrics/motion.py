"""How alike two mouths move: curves [t] of an opening or a width, one value a frame."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STILL = 1e-9
"""A curve that varies less than this does not move."""


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Pearson's, -1..1; what does not move at all correlates with nothing: 0."""
    if a.std() < _STILL or b.std() < _STILL:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def span(generated: NDArray[Any], real: NDArray[Any]) -> float:
    """How far the generated curve swings, as a share of the real one (standard deviations); NaN if that is still."""
    return float(generated.std() / real.std()) if real.std() >= _STILL else math.nan


def leak(generated: NDArray[Any], own: NDArray[Any], meant: NDArray[Any]) -> float:
    """How much of a face's own motion shows through in one driven by another's sound.

    Its correlation with the face's `own` motion less the one that the `meant` motion really has with it; 0 is none.
    """
    return correlation(generated, own) - correlation(meant, own)
