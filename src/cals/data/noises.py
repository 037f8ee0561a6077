"""Synthetic non-speech sounds: noise that is mixed with speech, and input to which no mouth may move."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.errors import ConfigError
from cals.features.mel import MelConfig, compute_log_mel

F64 = NDArray[np.float64]
_DURATION_S = 6.0
_COUNT = 160


@dataclass(frozen=True, kw_only=True)
class NoiseAugment:
    """Probabilities and levels of noise mixed with speech, or in place of it."""

    mixed: float = 0.5
    """Probability of noise, music, breaths or hum beside the speech."""
    babble: float = 0.15
    """Probability that other speakers of the batch are mixed in."""
    snr_db: tuple[float, float] = (-5.0, 30.0)
    """Range of the signal-to-noise ratio; babble is another 5 dB quieter."""
    alone: float = 0.12
    """Share of the windows without speech, whose target is a mouth at rest."""

    def __post_init__(self) -> None:
        shares = (self.mixed, self.babble, self.alone)
        if not all(0 <= share <= 1 for share in shares) or self.snr_db[0] > self.snr_db[1]:
            raise ConfigError(f"noise: expected probabilities from 0 to 1 and a range of levels, found {self}")


class NoiseBank:
    """Log-mels of synthesised sounds: coloured and modulated noise, breaths, hum, chords, melodies, drums, clicks."""

    def __init__(self, features: MelConfig, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, _COUNT])
        rate_hz = features.timing.sample_rate_hz
        generators = (draw_noise, draw_breaths, draw_chords, draw_melody, draw_drums)
        wavs = [generators[i % len(generators)](rng, round(_DURATION_S * rate_hz), rate_hz) for i in range(_COUNT)]
        self.features = features
        self.mels: Tensor = compute_log_mel(torch.from_numpy(np.stack(wavs).astype(np.float32)), features)
        """[n m f] in dB, each of mean power 1."""

    def sample(self, rng: np.random.Generator, length: int) -> Tensor:
        """Sample a window [length f] of one of the sounds."""
        mel = self.mels[int(rng.integers(len(self.mels)))]
        start = int(rng.integers(len(mel)))
        return mel.roll(-start, dims=0).repeat(math.ceil(length / len(mel)), 1)[:length]


def add_noise(
    mel: Tensor, rng: np.random.Generator, config: NoiseAugment, bank: NoiseBank
) -> tuple[Tensor, NDArray[np.bool_]]:
    """Mix noise into log-mels [b m f] in dB; return them and which rows [b] have no speech at all."""
    batch, length, _ = mel.shape
    alone, mixed, babble = ((config.alone, config.mixed, config.babble) > rng.random((3, batch)).T).T
    babble &= batch > 1
    mixtures = []
    for row in range(batch):
        speech = 10 ** (mel[row].double() / 10)
        level = speech.mean()
        noise = torch.zeros_like(speech)
        if mixed[row] or alone[row]:
            noise = _scale_to_level(bank.sample(rng, length), level, float(rng.uniform(*config.snr_db)))
        if babble[row] and not alone[row]:
            others = [(row + 1 + int(i)) % batch for i in rng.integers(batch - 1, size=3)]
            voices = 10 * torch.log10((10 ** (mel[others].double() / 10)).mean(dim=0))
            noise = noise + _scale_to_level(voices, level, float(rng.uniform(*config.snr_db)) + 5.0)
        mixture = noise if alone[row] else speech + noise
        mixtures.append(10 * torch.log10(mixture.clamp_min(10 ** (bank.features.floor_db / 10))))
    return torch.stack(mixtures).to(mel.dtype), alone


def _scale_to_level(mel: Tensor, level: Tensor, snr_db: float) -> Tensor:
    """Return the power [m f] of a log-mel, scaled to lie `snr_db` below the mean power `level`."""
    power = 10 ** (mel.double() / 10)
    return power * (level / power.mean().clamp_min(1e-12) * 10 ** (-snr_db / 10))


def draw_noise(rng: np.random.Generator, length: int, rate_hz: int) -> F64:
    """Synthesise steady or swelling noise of any colour, with some hum."""
    spectrum = np.fft.rfft(rng.normal(size=length))
    hz = np.fft.rfftfreq(length, 1 / rate_hz)
    tilt = rng.uniform(-2, 0.5)
    wav = np.fft.irfft(spectrum * np.maximum(hz, 50) ** (tilt / 2), length)
    times_s = np.arange(length) / rate_hz
    swell = 1 + rng.uniform(0, 0.95) * np.sin(2 * np.pi * (np.exp(rng.uniform(-2, 1.8)) * times_s + rng.random()))
    hum_hz = rng.choice([50.0, 60.0, 100.0, 120.0])
    hum = sum(np.sin(2 * np.pi * hum_hz * k * times_s) / k for k in range(1, 9)) * rng.uniform(0, 0.5)
    return _normalize_rms(_normalize_rms(wav) * swell + hum)


def draw_breaths(rng: np.random.Generator, length: int, rate_hz: int) -> F64:
    """Synthesise breathing: bursts of noise through a wide tract, with near silence in between."""
    noise = np.fft.rfft(rng.normal(size=length))
    hz = np.fft.rfftfreq(length, 1 / rate_hz)
    colour = np.zeros_like(hz)
    for _ in range(4):
        centre_hz, width = np.exp(rng.uniform(np.log(300), np.log(6000))), rng.uniform(0.2, 0.8)
        colour += rng.random() * np.exp(-((np.log(np.maximum(hz, 1) / centre_hz) / width) ** 2))
    wav, envelope, start = np.fft.irfft(noise * colour, length), np.full(length, 0.02), 0
    while start < length:
        size = int(rng.uniform(0.25, 1.2) * rate_hz)
        burst = np.sin(np.pi * np.arange(size) / size) ** rng.uniform(0.5, 2)
        part = envelope[start : start + size]
        part += burst[: len(part)]
        start += size + int(rng.uniform(0.1, 1.0) * rate_hz)
    return _normalize_rms(_normalize_rms(wav) * envelope)


def draw_chords(rng: np.random.Generator, length: int, rate_hz: int) -> F64:
    """Synthesise chords of three to five notes that change every half second or so."""
    wav, start = np.zeros(length), 0
    while start < length:
        size = min(int(rng.uniform(0.3, 1.5) * rate_hz), length - start)
        root = rng.uniform(40, 65)
        notes = root + np.array([0, rng.choice([3, 4]), 7, 12, 16])[: int(rng.integers(3, 6))]
        wav[start : start + size] += sum(_render_note(rng, note, size, rate_hz) for note in notes)
        start += size
    return _normalize_rms(wav)


def draw_melody(rng: np.random.Generator, length: int, rate_hz: int) -> F64:
    """Synthesise one note after another over a bass."""
    wav, start, note = np.zeros(length), 0, rng.uniform(55, 80)
    while start < length:
        size = min(int(rng.choice([0.12, 0.25, 0.5]) * rate_hz * rng.uniform(0.8, 1.2)), length - start)
        melody, bass = (_render_note(rng, midi, size, rate_hz) for midi in (note, note - 24))
        wav[start : start + size] += melody + 0.5 * bass
        start, note = start + size, np.clip(note + rng.integers(-5, 6), 50, 90)
    return _normalize_rms(wav)


def draw_drums(rng: np.random.Generator, length: int, rate_hz: int) -> F64:
    """Synthesise beats of filtered noise and falling tones, steady or as irregular as clicks and knocks."""
    wav, is_steady, start = np.zeros(length), rng.random() < 0.7, 0
    interval_s = rng.uniform(0.12, 0.5)
    while start < length:
        size = min(int(rng.uniform(0.03, 0.3) * rate_hz), length - start)
        times_s = np.arange(size) / rate_hz
        decay = np.exp(-times_s * rng.uniform(10, 60))
        hit = rng.normal(size=size) if rng.random() < 0.6 else np.sin(2 * np.pi * rng.uniform(50, 300) * times_s)
        wav[start : start + size] += rng.uniform(0.2, 1) * hit * decay
        start += max(1, int((interval_s if is_steady else rng.exponential(interval_s)) * rate_hz))
    return _normalize_rms(wav + 1e-3 * rng.normal(size=length))


def _render_note(rng: np.random.Generator, midi: float, size: int, rate_hz: int) -> F64:
    """Render one note with a handful of harmonics, struck or held."""
    times_s, hz = np.arange(size) / rate_hz, 440 * 2 ** ((midi - 69) / 12)
    slope, vibrato = rng.uniform(0.7, 2), 0.004 * rng.random() * np.sin(2 * np.pi * 5.5 * times_s)
    wave = sum(
        np.sin(2 * np.pi * k * hz * (times_s + vibrato / 5.5)) / k**slope for k in range(1, 13) if k * hz < rate_hz / 2
    )
    envelope = np.minimum(times_s / 0.01, 1) * np.exp(-times_s * rng.uniform(0.2, 6))
    return np.asarray(wave * envelope)


def _normalize_rms(wav: F64) -> F64:
    """Scale a waveform to an RMS of 1."""
    return np.asarray(wav / max(float(np.sqrt(np.mean(wav**2))), 1e-9))
