"""Temporal filters that adapt to speed."""

import math

import numpy as np
from numpy.typing import NDArray


class OneEuro:
    """The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) over a vector, in true time.

    Each component is low-passed at `min_cutoff_hz` + `beta` * its own speed. A motion of constant speed lags by
    speed / (2 pi cutoff). That is at most 1 / (2 pi `beta`) of the vector's unit at any speed.
    """

    def __init__(self, *, min_cutoff_hz: float, beta: float, speed_cutoff_hz: float) -> None:
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._speed_cutoff_hz = speed_cutoff_hz
        self._value: NDArray[np.float64] | None = None
        self._raw: NDArray[np.float64] = np.zeros(0)
        self._speed: NDArray[np.float64] = np.zeros(0)
        self._time_s = 0.0

    def reset(self) -> None:
        """Reset the state: the next value passes unchanged."""
        self._value = None

    def update(self, value: NDArray[np.float64], time_s: float) -> NDArray[np.float64]:
        """Return the smoothed `value` [k]; if the time does not advance, the value passes and the state is reset."""
        elapsed_s = time_s - self._time_s
        self._time_s = time_s
        if self._value is None or elapsed_s <= 0:
            self._value, self._raw, self._speed = value.copy(), value.copy(), np.zeros_like(value)
            return value.copy()
        speed = (value - self._raw) / elapsed_s
        self._raw = value.copy()
        self._speed = self._speed + _compute_weight(self._speed_cutoff_hz, elapsed_s) * (speed - self._speed)
        cutoff_hz = self._min_cutoff_hz + self._beta * np.abs(self._speed)
        self._value = self._value + _compute_weight(cutoff_hz, elapsed_s) * (value - self._value)
        return self._value.copy()


def _compute_weight(cutoff_hz: NDArray[np.float64] | float, elapsed_s: float) -> NDArray[np.float64]:
    """Compute the weight of the new value in a first-order low-pass, exact for any time step."""
    return np.asarray(1.0 - np.exp(-2.0 * math.pi * np.asarray(cutoff_hz) * elapsed_s))
