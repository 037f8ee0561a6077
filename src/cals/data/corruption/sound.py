"""Corrupted sound: noise mixed with the speech of a clip, and dropout."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.data.corruption.bursts import Burst
from cals.data.corruption.noise import RATE_HZ, draw_burst_noise, measure_power
from cals.errors import ConfigError
from cals.types import F32

FADE_S = 0.005
"""Fade-in and fade-out of every burst, within itself: no click, and nothing changes outside."""
_QUIETEST = 1e-8
"""Clips of less mean power count as having so much (-80 dB), so that noise is added to silence too."""


@dataclass(frozen=True, eq=False)
class SoundBurst:
    """A burst prepared for one sound; any block of that sound may be corrupted by itself."""

    start: int
    """First sample."""
    end: int
    fade: int
    noise: F32 | None = field(repr=False)
    """Added noise [n] from `start` on, repeated from its beginning; None where the sound drops out."""

    def apply(self, block: F32, first: int) -> None:
        """Corrupt samples `first`.. of the sound, [n] or [channels n], in place."""
        low, high = max(self.start, first), min(self.end, first + block.shape[-1])
        if low >= high:
            return
        part = block[..., low - first : high - first]
        weight = _compute_envelope(self.end - self.start, self.fade, low - self.start, high - self.start)
        if self.noise is None:
            part *= 1 - weight
            return
        offset = low - self.start
        noise = self.noise[offset : offset + high - low]
        if len(noise) < high - low:
            noise = self.noise.take(np.arange(offset, offset + high - low), mode="wrap")
        part += weight * noise


def _compute_envelope(length: int, fade: int, low: int, high: int) -> F32:
    """Compute samples `low` to `high` of a burst's weight: 1, and smoothly from and to 0 at its ends."""
    fade = max(1, min(fade, length // 2))
    weight = np.ones(high - low, np.float32)
    rise = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade).astype(np.float32) ** 2
    if low < fade:
        head = rise[low:high]
        weight[: len(head)] = head
    if high > length - fade:
        begin = max(low, length - fade)
        weight[begin - low :] = rise[::-1][begin - (length - fade) : high - (length - fade)]
    return weight


def build_sound_burst(
    burst: Burst, start: int, end: int, *, power: float, rate_hz: int = RATE_HZ, others: Sequence[F32] = (), own: F32
) -> SoundBurst:
    """Prepare a burst for samples `start` to `end` of a sound of mean power `power`, at that rate.

    `others` and `own` are sound at 16 kHz, for babble. The noise is as far below `power` as asked over the whole burst,
    fades included.
    """
    length, fade = end - start, round(FADE_S * rate_hz)
    if burst.kind == "dropout":
        return SoundBurst(start, end, fade, None)
    noise = draw_burst_noise(burst.kind, burst.seed, round(length * RATE_HZ / rate_hz), others, own)
    noise = _resample_loop(noise, rate_hz)
    covered = min(length, len(noise))
    audible = noise[:covered] * _compute_envelope(length, fade, 0, covered)
    target = max(power, _QUIETEST) * 10 ** (-burst.strength / 10)
    level = measure_power(audible)
    return SoundBurst(start, end, fade, noise * np.float32((target / level) ** 0.5 if level > 0 else 0.0))


def _resample_loop(wav: F32, rate_hz: int) -> F32:
    """Resample a loop of sound at 16 kHz to another rate, exactly, without a seam."""
    if rate_hz == RATE_HZ:
        return wav
    length = max(1, round(len(wav) * rate_hz / RATE_HZ))
    spectrum: NDArray[Any] = np.fft.rfft(wav)
    return np.fft.irfft(spectrum, length).astype(np.float32) * np.float32(length / len(wav))


def corrupt_sound(wav: F32, bursts: Sequence[Burst], samples_per_frame: int, babble: Sequence[F32] = ()) -> F32:
    """Corrupt a clip's sound [n] at 16 kHz; samples outside the bursts stay as they are, in a new array.

    A burst's strength is the mean power of the whole clip over that of its noise, in dB. `babble` are wavs of other
    clips; without any, babble is made of the clip's own sound, shifted and reversed. Nothing is clipped: where speech
    and noise add up to more than full scale, the values are above 1. Frames beyond the end of the sound have none to
    corrupt. Raises ConfigError for an impossible frame length.
    """
    if samples_per_frame < 1:
        raise ConfigError(
            f"samples_per_frame: expected 1 or more, found {samples_per_frame}; 640 is 25 frames a second"
        )
    out = wav.astype(np.float32)
    power = measure_power(wav)
    for burst in bursts:
        start, end = burst.start * samples_per_frame, min(burst.end * samples_per_frame, len(wav))
        if start < end:
            build_sound_burst(burst, start, end, power=power, others=babble, own=wav).apply(out, 0)
    return out
