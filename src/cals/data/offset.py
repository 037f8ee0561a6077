"""A/V offset of a clip before any model is trained: the correlation of mouth opening and loudness.

A clip whose sound does not belong to its lips teaches a sync expert nothing; it is the usual reason why its loss stays
at chance (0.69). One short clip measures its offset badly; all clips of one recording set-up together measure it well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cals.types import F32

MAX_SHIFT = 10
"""Largest offset that is searched, in video frames: 0.4 s."""
MIN_CORRELATION = 0.15
"""Least correlation within a frame of the group's offset; below it there is no sync to learn."""

Curve = NDArray[np.float64]


def compute_loudness(wav: F32, samples_per_frame: int, frames: int) -> Curve:
    """Compute the loudness [t] of each video frame, in dB over a floor at -60 dB."""
    padded = np.zeros(frames * samples_per_frame, np.float64)
    padded[: min(len(wav), len(padded))] = wav[: len(padded)]
    power = (padded.reshape(frames, samples_per_frame) ** 2).mean(axis=1)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-6)) + 60)


def compute_offset_curve(opening: Curve, loud: Curve, max_shift: int = MAX_SHIFT) -> Curve:
    """Correlate opening at t with loudness at t + shift, for shift = -max..max, [2 max + 1].

    A peak at a positive shift means that the sound comes late (`offset_frames` > 0: audio lags video). The correlation
    with a signal that does not move is 0.
    """
    length = len(opening)
    curve = np.zeros(2 * max_shift + 1)
    for i, shift in enumerate(range(-max_shift, max_shift + 1)):
        low, high = max(0, -shift), min(length, length - shift)
        a, b = opening[low:high], loud[low + shift : high + shift]
        if len(a) > max_shift and a.std() > 1e-9 and b.std() > 1e-9:
            curve[i] = np.corrcoef(a, b)[0, 1]
    return curve


@dataclass(frozen=True, kw_only=True)
class GroupOffset:
    """Offset of the samples of one speaker, or of a whole corpus."""

    offset_frames: int
    correlation: float
    """Mean correlation at that offset."""
    clips: int


def estimate_group_offset(curves: list[Curve], min_clips: int = 1) -> GroupOffset:
    """Estimate the offset at which the mean curve of the clips peaks; of equal peaks the one nearest to 0.

    With fewer than `min_clips` clips the offset is taken to be 0.
    """
    mean = np.mean(curves, axis=0)
    shifts = np.arange(len(mean)) - len(mean) // 2
    best = max(range(len(mean)), key=lambda i: (mean[i], -abs(shifts[i])))
    if len(curves) < min_clips:
        best = len(mean) // 2
    return GroupOffset(offset_frames=int(shifts[best]), correlation=float(mean[best]), clips=len(curves))
