"""Mel-frequency cepstral coefficients as SyncNet hears them (the defaults of `python_speech_features`)."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cals.types import F32

RATE_HZ, WINDOW, HOP, COEFFICIENTS = 16_000, 400, 160, 13
"""Windows of 25 ms every 10 ms; window j begins at sample 160 j, it is not centred there."""

_FFT, _BANDS, _EMPHASIS, _LIFTER = 512, 26, 0.97, 22
_FULL_SCALE = 32768
"""The energies are those of 16-bit samples."""
_NOTHING = float(np.finfo(np.float64).eps)
"""What no energy counts as before the logarithm."""

F64 = NDArray[np.float64]


def mfcc_blocks(blocks: Iterable[F32]) -> Iterator[F32]:
    """Coefficients [m 13] for blocks [n] of mono sound at 16 kHz, -1..1; a last window that is cut short is filled up.

    Coefficient 0 is the logarithm of the window's energy.
    """
    rest, last, begun = np.zeros(0), 0.0, False
    for block in blocks:
        if not len(block):
            continue
        samples = np.rint(block.astype(np.float64) * _FULL_SCALE)
        emphasised = samples - _EMPHASIS * np.append(last, samples[:-1])
        last = float(samples[-1])
        rest = np.concatenate([rest, emphasised])
        whole = (len(rest) - WINDOW) // HOP + 1
        if whole > 0:
            yield _mfcc(np.lib.stride_tricks.sliding_window_view(rest, WINDOW)[: whole * HOP : HOP])
            rest, begun = rest[whole * HOP :], True
    if len(rest) > (WINDOW - HOP if begun else 0):
        yield _mfcc(np.pad(rest, (0, WINDOW - len(rest)))[None])


def _mfcc(windows: F64) -> F32:
    """[m window] -> [m 13]."""
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    energy, bands = power.sum(axis=1), power @ _bank()
    found = np.log(np.where(bands == 0, _NOTHING, bands)) @ _cosines()
    found[:, 0] = np.log(np.where(energy == 0, _NOTHING, energy))
    return found.astype(np.float32)


@lru_cache(maxsize=1)
def _bank() -> F64:
    """Triangles of height 1 between whole FFT bins, evenly spaced on the mel scale 2595 log10(1 + hz / 700)."""
    mels = np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), _BANDS + 2)
    edges = np.floor((_FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / RATE_HZ)
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(_FFT // 2 + 1)[:, None]
    rising, falling = (bins - low) / np.maximum(peak - low, 1), (high - bins) / np.maximum(high - peak, 1)
    return np.where((bins >= low) & (bins < peak), rising, np.where((bins >= peak) & (bins < high), falling, 0.0))


@lru_cache(maxsize=1)
def _cosines() -> F64:
    """The orthonormal cosine transform (II) of the bands with its higher coefficients lifted, [26 13]."""
    number = np.arange(COEFFICIENTS)
    transform = np.cos(np.pi * (2 * np.arange(_BANDS)[:, None] + 1) * number / (2 * _BANDS)) * np.sqrt(2 / _BANDS)
    transform[:, 0] /= np.sqrt(2)
    return np.asarray(transform * (1 + _LIFTER / 2 * np.sin(np.pi * number / _LIFTER)))
