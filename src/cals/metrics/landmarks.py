"""Distance of generated landmarks from real ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def landmark_distance(generated: NDArray[Any], real: NDArray[Any]) -> float:
    """Compute LMD: mean distance of points [t n 2], each frame's mean position subtracted first (Chen et al., 2018)."""
    difference = (generated - generated.mean(axis=1, keepdims=True)) - (real - real.mean(axis=1, keepdims=True))
    return float(np.hypot(difference[..., 0], difference[..., 1]).mean())
