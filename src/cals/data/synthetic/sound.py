"""Formant synthesis: pulses and noise, filtered frame by frame by each phone's own formants and noise band.

Sound is not co-articulated: neighbouring phones cross-fade within `BLEND_S`. What is heard at a moment is of the phone
at that moment only, and all context in the mouth has to come from hearing the neighbours themselves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cals.data.synthetic.grammar import F64, PhoneSequence
from cals.data.synthetic.phones import PHONES
from cals.errors import ConfigError
from cals.types import F32

SAMPLE_RATE_HZ = 16_000
BLEND_S = 0.01
_HOP, _WINDOW, _FFT = 80, 320, 512
_BANDWIDTHS_HZ = (70.0, 90.0, 130.0, 200.0)
_FOURTH_HZ = 3800.0
_CLOSED_DB = -24.0
"""Level of a stop during its closure: enough to tell which it is."""
_SILENT_DB = -90.0
_LEVEL = 0.12
"""Root mean square of the speech."""
_FLOOR = 1e-4
"""Noise of the room, against full scale."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A person's voice."""

    pitch_hz: float = 130.0
    tract: float = 1.0
    """Length of the vocal tract relative to the average: 1.1 lowers all formants by a tenth."""
    tempo: float = 1.0
    breath_db: float = -30.0
    """Noise in the voice."""

    def __post_init__(self) -> None:
        if not (50 <= self.pitch_hz <= 500 and 0.7 <= self.tract <= 1.4 and 0.5 <= self.tempo <= 2):
            raise ConfigError(f"voice: expected a pitch of 50..500 Hz, tract 0.7..1.4, tempo 0.5..2, found {self}")


def synthesize(spoken: PhoneSequence, voice: Voice, rng: np.random.Generator) -> F32:
    """Synthesise the sound [n] of this speech at 16 kHz."""
    samples = round(float(spoken.edges_s[-1]) * SAMPLE_RATE_HZ)
    frames = -(-samples // _HOP) + 1
    centres_s = np.arange(frames) * _HOP / SAMPLE_RATE_HZ
    formants, noise, voiced_db, noise_db = _compute_parameters(spoken, centres_s, voice)
    pulses = _synthesize_pulses(samples, centres_s, spoken, voice, rng)
    voiced = _filter_frames(pulses, _compute_resonances(formants) * _convert_db(voiced_db)[:, None])
    hiss = _filter_frames(rng.normal(size=samples), _compute_noise_bands(noise) * _convert_db(noise_db)[:, None])
    sound = voiced + hiss
    level = np.sqrt(np.mean(sound**2)) or 1.0
    sound = sound * (_LEVEL / level) + _FLOOR * rng.normal(size=samples)
    return np.clip(sound, -1, 1).astype(np.float32)


def _compute_parameters(spoken: PhoneSequence, centres_s: F64, voice: Voice) -> tuple[F64, F64, F64, F64]:
    """Compute per frame: formants [t 4], noise centre and width [t 2] in Hz, levels of voice and noise [t] in dB."""
    index = np.clip(np.searchsorted(spoken.edges_s, centres_s, side="right") - 1, 0, len(spoken.phones) - 1)
    phones = [PHONES[phone] for phone in spoken.phones]
    formants = np.array([(*phone.formants_hz, _FOURTH_HZ) for phone in phones])[index] / voice.tract
    noise = np.array([(phone.noise_hz / voice.tract, phone.noise_width_hz) for phone in phones])[index]
    levels = np.array([[_SILENT_DB if level is None else level for level in (p.voice_db, p.noise_db)] for p in phones])[
        index
    ]
    starts, ends = spoken.edges_s[index], spoken.edges_s[index + 1]
    progress = (centres_s - starts) / np.maximum(ends - starts, 1e-9)
    closed = progress < np.array([phone.closed for phone in phones])[index]
    levels = np.maximum(levels + np.where(closed, _CLOSED_DB, 0.0)[:, None], _SILENT_DB)
    levels[:, 1] = np.maximum(levels[:, 1], np.where(levels[:, 0] > _SILENT_DB, levels[:, 0] + voice.breath_db, -1e9))
    blend = max(1, round(BLEND_S * SAMPLE_RATE_HZ / _HOP))
    return _smooth(formants, blend), _smooth(noise, blend), _smooth(levels[:, :1], blend)[:, 0], levels[:, 1]


def _smooth(values: F64, frames: int) -> F64:
    padded = np.concatenate([np.repeat(values[:1], frames, axis=0), values])
    sums = np.cumsum(np.concatenate([np.zeros((1, values.shape[1])), padded]), axis=0)
    return np.asarray((sums[frames:] - sums[:-frames]) / frames)[1 : len(values) + 1]


def _synthesize_pulses(
    samples: int, centres_s: F64, spoken: PhoneSequence, voice: Voice, rng: np.random.Generator
) -> F64:
    """Synthesise one pulse a period, at fractional samples; the pitch falls slowly and wanders a little."""
    walk = np.cumsum(rng.normal(0, 0.01, len(centres_s)))
    jitter = np.clip(walk - np.linspace(0, walk[-1], len(walk)), -0.15, 0.15)
    total_s = max(float(spoken.edges_s[-1]), 1e-9)
    pitch = voice.pitch_hz * (1.08 - 0.16 * centres_s / total_s) * (1 + jitter)
    pitch_per_sample = np.interp(np.arange(samples) / SAMPLE_RATE_HZ, centres_s, pitch)
    phase = np.concatenate([[0.0], np.cumsum(pitch_per_sample / SAMPLE_RATE_HZ)])
    times = np.interp(np.arange(1, int(phase[-1]) + 1), phase, np.arange(samples + 1))
    index = times.astype(np.int64)
    out = np.zeros(samples + 2)
    np.add.at(out, index, 1 - (times - index))
    np.add.at(out, index + 1, times - index)
    return np.asarray(out[:samples] * np.sqrt(SAMPLE_RATE_HZ / voice.pitch_hz))


def _compute_resonances(formants: F64) -> NDArray[np.complex128]:
    """Compute frequency responses [t bins] of four formants in series and the glottal slope."""
    turn = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT)
    response = 0.5 / (1 - 0.9 * turn)[None] * np.ones((len(formants), 1))
    for column, width in zip(formants.T, _BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * width / SAMPLE_RATE_HZ)
        cosine = 2 * radius * np.cos(2 * np.pi * column / SAMPLE_RATE_HZ)[:, None]
        gain = 1 - cosine + radius**2
        response = response * gain / (1 - cosine * turn + radius**2 * turn**2)
    return np.asarray(response)


def _compute_noise_bands(noise: F64) -> NDArray[np.complex128]:
    """Compute frequency responses [t bins] of one band each, of the same power whatever its width."""
    bins_hz = np.arange(_FFT // 2 + 1) * SAMPLE_RATE_HZ / _FFT
    centre, width = noise[:, :1], noise[:, 1:]
    bands = np.exp(-0.5 * ((bins_hz - centre) / width) ** 2)
    return np.asarray(bands / np.sqrt((bands**2).mean(axis=1, keepdims=True)) + 0j)


def _convert_db(level_db: F64) -> F64:
    """Convert levels in dB to amplitudes, silence to 0."""
    return np.where(level_db > _SILENT_DB, 10 ** (level_db / 20), 0.0)


def _filter_frames(source: F64, responses: NDArray[np.complex128]) -> F64:
    """Filter a source [n] by responses [t bins] that change every hop, by overlap-add."""
    frames = len(responses)
    padded = np.pad(source, (_WINDOW // 2, _FFT + frames * _HOP))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: frames * _HOP : _HOP]
    window = np.hanning(_WINDOW + 1)[:_WINDOW] * (2 * _HOP / _WINDOW)
    filtered = np.fft.irfft(np.fft.rfft(pieces * window, _FFT) * responses, _FFT)
    out = np.zeros(len(padded))
    for i, piece in enumerate(filtered):
        out[i * _HOP : i * _HOP + _FFT] += piece
    return np.asarray(out[_WINDOW // 2 : _WINDOW // 2 + len(source)])
