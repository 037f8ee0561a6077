"""Noise that is mixed with speech, at 16 kHz and of mean power 1: babble of other clips, white, pink and music."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from cals.data.noises import draw_chords, draw_drums, draw_melody
from cals.types import F32

RATE_HZ = 16_000
LOOP_S = 16
"""Longer bursts repeat their noise, so that memory does not grow with them."""
VOICES = 6
"""Number of babbling speakers."""
_PIECE_S, _PIECES = 6, 12
"""Length and number of the pieces of music, each made once."""
_FLOOR = 1e-8
"""Mean power below which sound counts as silent: -80 dB."""


def draw_burst_noise(kind: str, seed: int, length: int, others: Sequence[F32], own: F32) -> F32:
    """Draw the noise [n] of a burst of `length` samples, or of the loop that a longer one consists of.

    Babble is mixed from `others`, wavs [n] of other clips. Without any it is mixed from pieces of the clip's `own`
    sound, shifted and every other one reversed: not other people then, but nothing intelligible. Where all are silent,
    pink noise takes its place.
    """
    rng = np.random.default_rng(seed)
    length = min(length, LOOP_S * RATE_HZ)
    if kind == "babble":
        voices = [wav for wav in others if measure_power(wav) > _FLOOR]
        mixed = _mix_voices(rng, length, voices or [own], reverse=not voices)
        if measure_power(mixed) > _FLOOR:
            return _normalize_power(mixed)
    if kind == "white":
        return _normalize_power(rng.standard_normal(length, dtype=np.float32))
    bank = _draw_music(int(rng.integers(_PIECES))) if kind == "music" else _draw_pink()
    return _normalize_power(_cut(bank, int(rng.integers(len(bank))), length))


def measure_power(wav: F32) -> float:
    """Compute the mean power of a waveform, 0 for an empty one."""
    return float(np.dot(wav, wav)) / max(1, len(wav))


def _mix_voices(rng: np.random.Generator, length: int, wavs: Sequence[F32], *, reverse: bool) -> F32:
    """Mix several voices at equal power; with `reverse` every other one is played backwards."""
    mixed = np.zeros(length, np.float32)
    for voice in range(VOICES):
        wav = wavs[int(rng.integers(len(wavs)))]
        power = measure_power(wav)
        if power > _FLOOR:
            piece = _cut(wav, int(rng.integers(len(wav))), length)
            mixed += (piece[::-1] if reverse and voice % 2 else piece) * np.float32(power**-0.5)
    return mixed


def _cut(wav: F32, start: int, length: int) -> F32:
    """Return `length` samples from `start` on; after the end the wav repeats."""
    if start + length <= len(wav):
        return wav[start : start + length]
    return np.resize(np.roll(wav, -start), length)


def _normalize_power(wav: F32) -> F32:
    power = measure_power(wav)
    return wav * np.float32(power**-0.5) if power > _FLOOR else wav


@lru_cache(maxsize=1)
def _draw_pink() -> F32:
    """Draw noise whose power falls by 3 dB an octave, from 50 Hz on."""
    length = 1 << 19
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(length))
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    return _normalize_power(np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 50)), length).astype(np.float32))


@lru_cache(maxsize=_PIECES)
def _draw_music(piece: int) -> F32:
    """Draw chords or a melody over drums."""
    rng = np.random.default_rng([piece, _PIECES])
    draw = (draw_chords, draw_melody)[piece % 2]
    wav = draw(rng, _PIECE_S * RATE_HZ, RATE_HZ) + rng.uniform(0.1, 0.6) * draw_drums(rng, _PIECE_S * RATE_HZ, RATE_HZ)
    return _normalize_power(wav.astype(np.float32))
