"""Similarity of two mouths' motion: curves [t] of an opening or a width, one value per frame, and jitter of points."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STILL = 1e-9
"""A curve with a smaller standard deviation counts as still."""


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Compute Pearson's correlation, -1..1; 0 where a curve is still."""
    if a.std() < _STILL or b.std() < _STILL:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def span_ratio(generated: NDArray[Any], real: NDArray[Any]) -> float:
    """Compute the ratio of the generated curve's standard deviation to the real one's; NaN if the real one is still."""
    return float(generated.std() / real.std()) if real.std() >= _STILL else math.nan


def leak(generated: NDArray[Any], face_motion: NDArray[Any], target: NDArray[Any]) -> float:
    """Compute how much of a face's own motion remains in a video driven by another clip's sound.

    It is the correlation of the generated motion with the original `face_motion`, less that of the `target` motion
    with it; 0 is no leak.
    """
    return correlation(generated, face_motion) - correlation(target, face_motion)


def jitter(generated: NDArray[Any], real: NDArray[Any], counts: NDArray[np.bool_] | None = None) -> float:
    """Compute the mean second difference of generated points [t n 2] over that of the real ones.

    1 is as in the real face, more is jitter, less is smooth or reduced motion; NaN if the real face is still.
    `counts` [t - 2] selects which three frames in a row count, by their first; default: all.
    """
    generated_change, real_change = (_compute_second_difference(points, counts) for points in (generated, real))
    return generated_change / real_change if real_change >= _STILL else math.nan


def _compute_second_difference(points: NDArray[Any], counts: NDArray[np.bool_] | None) -> float:
    if len(points) < 3:
        raise ValueError(f"jitter: expected 3 frames or more, found {len(points)}")
    change = np.diff(points.astype(np.float64), 2, axis=0)
    if counts is not None:
        if not counts.any():
            return math.nan
        change = change[counts]
    return float(np.hypot(change[..., 0], change[..., 1]).mean())
