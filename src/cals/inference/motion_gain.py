"""Gain of the predicted motion: a network that is unsure of its input predicts less of it."""

import numpy as np

from cals.arrays import Array, convert_like, get_namespace, measure_std, to_numpy
from cals.models.geometry import MotionDecoder, measure_lip_gap

SPEECH_RADIUS = 10
"""Units on either side of a frame in which speech is looked for."""
_OBSERVED_UNITS = 600
"""Latest units that the gain is estimated from, 24 s."""
_SPEECH_THRESHOLD, _MIN_SPEECH_UNITS = 0.5, 25
"""Speech activity from which a unit counts as speech, and how many such units the gain needs."""
_RANGE = (0.8, 2.0)
_CHANGE = 0.002
"""Largest change of the gain with each unit: a twentieth in a second."""


class MotionGain:
    """The gain that brings the predicted motion to the average speaker's amplitude; 1 before enough was heard.

    An unfamiliar voice or a noisy room makes predicted motion too small.
    """

    def __init__(self, decoder: MotionDecoder) -> None:
        self.value = 1.0
        self._decoder = decoder
        self._opening = convert_like(np.zeros(0, np.float32), decoder.mesh.basis)
        """[t] of the average speaker, in standard deviations."""
        self._end = 0

    def observe(self, first: int, motion: Array) -> None:
        """Estimate the gain anew with motion [t k] from unit `first` on; units observed before are skipped."""
        new = _measure_opening(self._decoder, motion)[max(0, self._end - first) :]
        self._end = max(self._end, first + len(motion))
        self._opening = get_namespace(new).concatenate([self._opening, new])[-_OBSERVED_UNITS:]
        is_speech = _spread(self._opening) > _SPEECH_THRESHOLD
        if int(is_speech.sum()) >= _MIN_SPEECH_UNITS:
            estimate = min(max(1 / float(measure_std(self._opening[is_speech])), _RANGE[0]), _RANGE[1])
            change = _CHANGE * len(new)
            self.value = min(max(estimate, self.value - change), self.value + change)


def compute_speech_activity(decoder: MotionDecoder, motion: Array) -> Array:
    """Compute the speech activity around each unit, 0 to 1, from the average speaker's motion [t k]."""
    return _spread(_measure_opening(decoder, motion))


def _measure_opening(decoder: MotionDecoder, motion: Array) -> Array:
    return (motion @ measure_lip_gap(decoder.mesh.basis)) / decoder.opening_px


def _spread(opening: Array) -> Array:
    padded = np.pad(to_numpy(opening).clip(0, 1), SPEECH_RADIUS)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * SPEECH_RADIUS + 1)
    return convert_like(windows.max(axis=1), opening)
