"""How alike two mouths move: curves [t] of an opening or a width, one value a frame, and how steadily points do."""

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


def jitter(generated: NDArray[Any], real: NDArray[Any], counts: NDArray[np.bool_] | None = None) -> float:
    """How much generated points [t n 2] tremble: their mean second difference as a share of the real one.

    1 is as restless as the real face, more is trembling, less is smooth or timid motion; NaN if the real one is still.
    `counts` [t - 2] says which three frames in a row are looked at, by their first; default: all.
    """
    restless, really = (_second_difference(points, counts) for points in (generated, real))
    return restless / really if really >= _STILL else math.nan


def _second_difference(points: NDArray[Any], counts: NDArray[np.bool_] | None) -> float:
    if len(points) < 3:
        raise ValueError(f"jitter: expected 3 frames or more, found {len(points)}")
    change = np.diff(points.astype(np.float64), 2, axis=0)
    if counts is not None:
        if not counts.any():
            return math.nan
        change = change[counts]
    return float(np.hypot(change[..., 0], change[..., 1]).mean())
