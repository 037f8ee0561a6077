"""Image metrics of uint8 RGB pictures [h w 3]: similarity of two, and sharpness of one."""

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
    """Compute the peak signal-to-noise ratio in dB over all pixels, or those of `region` [h w]; infinite when equal."""
    difference = generated.astype(np.float64) - target
    error = float(np.mean((difference if region is None else difference[region]) ** 2))
    return 10 * math.log10(_PEAK**2 / error) if error else math.inf


def wrapped_psnr(generated: U8, target: U8, region: NDArray[np.bool_] | None = None) -> float:
    """Compute PSNR in dB with 8-bit differences and squares, which both wrap around at 256.

    Two unrelated pictures reach 27.9 dB (a mean square of 105.5), equal ones infinity. A picture off by a multiple of
    16 levels everywhere counts as equal. It is only for tables computed that way (paper section 5); see `psnr`.
    """
    difference = generated - target
    error = float(np.mean(np.square(difference if region is None else difference[region]), dtype=np.float64))
    return 10 * math.log10(_PEAK**2 / error) if error else math.inf


def ssim(generated: U8, target: U8) -> float:
    """Compute the structural similarity, -1..1, mean over channels and all positions whose window lies inside.

    Gaussian window of 11 taps, sigma 1.5 (Wang, Bovik, Sheikh and Simoncelli, 2004).
    """
    if min(target.shape[:2]) < _TAPS:
        raise ValueError(f"ssim: expected pictures of at least {_TAPS} px, found {target.shape[:2]}")
    a, b = generated.astype(np.float64), target.astype(np.float64)
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    var_a, var_b = _window_mean(a * a) - mean_a**2, _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    return float(np.mean(numerator / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))))


def _window_mean(image: NDArray[np.float64]) -> NDArray[Any]:
    """Compute the Gaussian-weighted mean at every position whose window lies inside."""
    margin = _TAPS // 2
    return np.asarray(cv2.GaussianBlur(image, (_TAPS, _TAPS), _SIGMA))[margin:-margin, margin:-margin]


def gradient_energy(image: U8, region: NDArray[np.bool_]) -> float:
    """Compute the mean squared gradient of brightness in `region` [h w], in levels of 255 per pixel, squared."""
    gradient_y, gradient_x = np.gradient(image @ _LUMA)
    return float(np.mean((gradient_y**2 + gradient_x**2)[region]))
