"""How far generated landmarks are from real ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def landmark_distance(generated: NDArray[Any], real: NDArray[Any]) -> float:
    """LMD: mean distance of points [t n 2], each frame's own mean place taken off first (Chen et al., 2018)."""
    away = (generated - generated.mean(axis=1, keepdims=True)) - (real - real.mean(axis=1, keepdims=True))
    return float(np.hypot(away[..., 0], away[..., 1]).mean())
