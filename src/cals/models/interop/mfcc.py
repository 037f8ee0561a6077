"""Mel-frequency cepstral coefficients as SyncNet expects them (the defaults of `python_speech_features`)."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cals.types import F32

RATE_HZ, WINDOW, HOP, COEFFICIENTS = 16_000, 400, 160, 13
"""Windows of 25 ms every 10 ms; window j begins at sample 160 j and is not centred there."""

_FFT, _BANDS, _EMPHASIS, _LIFTER = 512, 26, 0.97, 22
_FULL_SCALE = 32768
"""Samples are scaled to the 16-bit range."""
_EPSILON = float(np.finfo(np.float64).eps)
"""Replaces zero energy before the logarithm."""

F64 = NDArray[np.float64]


def iterate_mfcc(blocks: Iterable[F32]) -> Iterator[F32]:
    """Iterate over coefficients [m 13] of blocks [n] of mono audio at 16 kHz, -1..1.

    Coefficient 0 is the logarithm of the window's energy. A last window that is too short is padded with zeros.
    """
    pending, last, started = np.zeros(0), 0.0, False
    for block in blocks:
        if not len(block):
            continue
        samples = np.rint(block.astype(np.float64) * _FULL_SCALE)
        emphasised = samples - _EMPHASIS * np.append(last, samples[:-1])
        last = float(samples[-1])
        pending = np.concatenate([pending, emphasised])
        whole = (len(pending) - WINDOW) // HOP + 1
        if whole > 0:
            yield _compute_mfcc(np.lib.stride_tricks.sliding_window_view(pending, WINDOW)[: whole * HOP : HOP])
            pending, started = pending[whole * HOP :], True
    if len(pending) > (WINDOW - HOP if started else 0):
        yield _compute_mfcc(np.pad(pending, (0, WINDOW - len(pending)))[None])


def _compute_mfcc(windows: F64) -> F32:
    """Compute coefficients, [m window] -> [m 13]."""
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    energy, bands = power.sum(axis=1), power @ _build_filter_bank()
    coefficients = np.log(np.where(bands == 0, _EPSILON, bands)) @ _build_cosine_transform()
    coefficients[:, 0] = np.log(np.where(energy == 0, _EPSILON, energy))
    return coefficients.astype(np.float32)


@lru_cache(maxsize=1)
def _build_filter_bank() -> F64:
    """Build triangular filters of height 1 between whole FFT bins, evenly spaced on the mel scale.

    The scale is 2595 log10(1 + hz / 700).
    """
    mels = np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), _BANDS + 2)
    edges = np.floor((_FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / RATE_HZ)
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(_FFT // 2 + 1)[:, None]
    rising, falling = (bins - low) / np.maximum(peak - low, 1), (high - bins) / np.maximum(high - peak, 1)
    return np.where((bins >= low) & (bins < peak), rising, np.where((bins >= peak) & (bins < high), falling, 0.0))


@lru_cache(maxsize=1)
def _build_cosine_transform() -> F64:
    """Build the orthonormal cosine transform (II) of the bands, with liftering, [26 13]."""
    number = np.arange(COEFFICIENTS)
    transform = np.cos(np.pi * (2 * np.arange(_BANDS)[:, None] + 1) * number / (2 * _BANDS)) * np.sqrt(2 / _BANDS)
    transform[:, 0] /= np.sqrt(2)
    return np.asarray(transform * (1 + _LIFTER / 2 * np.sin(np.pi * number / _LIFTER)))
