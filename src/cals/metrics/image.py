"""How alike two pictures are, and how sharp one is: uint8 RGB [h w 3] in, one number out."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import U8

_PEAK = 255.0
_LUMA = np.array([0.299, 0.587, 0.114])
_TAPS, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


def psnr(generated: U8, target: U8, region: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB over all pixels, or those of `region` [h w]; infinite for equal ones."""
    difference = generated.astype(np.float64) - target
    error = float(np.mean((difference if region is None else difference[region]) ** 2))
    return 10 * math.log10(_PEAK**2 / error) if error else math.inf


def wrapped_psnr(generated: U8, target: U8, region: NDArray[np.bool_] | None = None) -> float:
    """PSNR in dB as scorers find it that subtract and square in 8 bits, where both wrap around at 256.

    Two unrelated pictures reach 27.9 dB (a mean square of 105.5), equal ones infinity, and a picture worse by a
    multiple of 16 levels everywhere counts as equal. Only for tables made that way (paper section 5); see `psnr`.
    """
    difference = generated - target
    error = float(np.mean(np.square(difference if region is None else difference[region]), dtype=np.float64))
    return 10 * math.log10(_PEAK**2 / error) if error else math.inf


def ssim(generated: U8, target: U8) -> float:
    """Structural similarity, -1..1, mean over channels and over all places where the window lies inside.

    Gaussian window of 11 taps, sigma 1.5 (Wang, Bovik, Sheikh and Simoncelli, 2004).
    """
    if min(target.shape[:2]) < _TAPS:
        raise ValueError(f"ssim: expected pictures of at least {_TAPS} px, found {target.shape[:2]}")
    a, b = generated.astype(np.float64), target.astype(np.float64)
    mean_a, mean_b = _windowed(a), _windowed(b)
    var_a, var_b = _windowed(a * a) - mean_a**2, _windowed(b * b) - mean_b**2
    both = _windowed(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    return float(np.mean(alike / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))))


def _windowed(image: NDArray[np.float64]) -> NDArray[Any]:
    """Weighted mean around every place whose window lies inside."""
    rim = _TAPS // 2
    return np.asarray(cv2.GaussianBlur(image, (_TAPS, _TAPS), _SIGMA))[rim:-rim, rim:-rim]


def gradient_energy(image: U8, region: NDArray[np.bool_]) -> float:
    """Mean squared gradient of the brightness in `region` [h w], in levels of 255 per pixel, squared."""
    down, right = np.gradient(image @ _LUMA)
    return float(np.mean((down**2 + right**2)[region]))
