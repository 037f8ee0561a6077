"""Voice conversion by the WORLD vocoder: pitch, formants and timbre change, the timing never does."""

import importlib.machinery
import importlib.util
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.errors import ConfigError
from cals.types import F32

F64 = NDArray[np.float64]

FRAME_MS = 5.0
FLOOR_HZ, CEILING_HZ = 50.0, 600.0
"""Range of the fundamental, both of what is analysed and of new voices."""
_KNOTS_HZ = (0.0, 700.0, 1800.0, 3200.0, 8000.0)
"""Knots of the formant warp: about where the formants lie that tell one vocal tract from another."""


@dataclass(frozen=True, kw_only=True)
class VoiceChange:
    """Ranges of new voices; one voice is sampled per clip."""

    pitch_hz: tuple[float, float] = (80.0, 300.0)
    """Median fundamental of the new voice, from low men to children."""
    intonation: tuple[float, float] = (0.5, 1.8)
    """Factor of the pitch contour's excursions."""
    follow: float = 0.25
    """Exponent by which formants follow pitch: a woman's octave above a man's comes with formants 1.19 times his."""
    formants: float = 0.12
    """Further change of the vocal-tract length, as a share."""
    bend: float = 0.06
    """Change of single formants, as a share of their frequency."""
    colour_db: float = 6.0
    """Gain of broad bands, as of timbre and microphone."""
    breath: float = 0.6
    """Largest share of the periodic sound that becomes breath noise."""
    whisper: float = 0.04
    """Probability of a whisper, which is unvoiced throughout."""

    def __post_init__(self) -> None:
        for name, (low, high) in {"pitch_hz": self.pitch_hz, "intonation": self.intonation}.items():
            if not 0 < low <= high:
                raise ConfigError(f"{name}: expected 0 < low <= high, found {low}..{high}")
        if not (0 <= self.breath <= 1 and 0 <= self.whisper <= 1):
            raise ConfigError(f"breath, whisper: expected shares in 0..1, found {self.breath} and {self.whisper}")


@dataclass(frozen=True, eq=False, kw_only=True)
class VoiceParts:
    """WORLD analysis of a voice, in k steps of 5 ms."""

    pitch_hz: F64 = field(repr=False)
    """[k], 0 where unvoiced."""
    envelope: F64 = field(repr=False)
    """Spectral power [k f] from 0 to half the sample rate."""
    aperiodicity: F64 = field(repr=False)
    """[k f] in 0..1"""
    samples: int
    sample_rate_hz: int
    rms: float

    @property
    def median_hz(self) -> float:
        """Median fundamental of the voiced steps; 0 where there are none."""
        voiced = self.pitch_hz[self.pitch_hz > 0]
        return float(np.median(voiced)) if voiced.size else 0.0


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One new voice for one clip."""

    pitch_hz: float
    intonation: float = 1.0
    bends: tuple[float, ...] = (1.0,) * len(_KNOTS_HZ)
    """Factors of the frequencies around `_KNOTS_HZ`; equal factors are another vocal-tract length."""
    colour_db: tuple[float, ...] = (0.0,)
    """Gain of bands from 0 to half the sample rate, evenly spaced on a warped axis (finer below)."""
    breath: float = 0.0
    whisper: bool = False


def convert_voice(wav: F32, rng: np.random.Generator, config: VoiceChange, sample_rate_hz: int = 16_000) -> F32:
    """Convert `wav` [n] to another voice sampled from `rng`: of the same length and level, every sound in its place.

    Raises ConfigError where pyworld is missing.
    """
    parts = analyze_voice(wav, sample_rate_hz)
    return synthesize_voice(parts, sample_voice(rng, config, parts.median_hz))


def sample_voice(rng: np.random.Generator, config: VoiceChange, median_hz: float) -> Voice:
    """Sample a voice within `config` for a clip whose own pitch is `median_hz`."""
    low, high = np.log(config.pitch_hz)
    pitch_hz = float(np.exp(rng.uniform(low, high)))
    follow = (pitch_hz / median_hz) ** config.follow if median_hz else 1.0
    tract = follow * np.exp(rng.uniform(-1, 1) * np.log1p(config.formants))
    bends = tract * np.exp(rng.uniform(-1, 1, len(_KNOTS_HZ)) * np.log1p(config.bend))
    return Voice(
        pitch_hz=pitch_hz,
        intonation=float(np.exp(rng.uniform(*np.log(config.intonation)))),
        bends=tuple(bends.tolist()),
        colour_db=tuple(rng.uniform(-config.colour_db, config.colour_db, 6).tolist()),
        breath=float(config.breath * rng.random() ** 2),  # most voices have little
        whisper=bool(rng.random() < config.whisper),
    )


def analyze_voice(wav: F32, sample_rate_hz: int = 16_000) -> VoiceParts:
    """Analyse `wav` [n] by DIO and StoneMask, CheapTrick, D4C (Morise et al., WORLD, 2016); 27 ms a second of sound.

    Harvest finds a tenth more voiced frames than DIO but costs six times all the rest together.
    """
    world = _load_world()
    x = wav.astype(np.float64)
    coarse, times_s = world.dio(x, sample_rate_hz, f0_floor=FLOOR_HZ, f0_ceil=CEILING_HZ, frame_period=FRAME_MS)
    pitch = world.stonemask(x, coarse, times_s, sample_rate_hz)
    size = world.get_cheaptrick_fft_size(sample_rate_hz, FLOOR_HZ)
    envelope = world.cheaptrick(x, pitch, times_s, sample_rate_hz, f0_floor=FLOOR_HZ, fft_size=size)
    return VoiceParts(
        pitch_hz=pitch,
        envelope=envelope,
        aperiodicity=world.d4c(x, pitch, times_s, sample_rate_hz, fft_size=size),
        samples=len(wav),
        sample_rate_hz=sample_rate_hz,
        rms=float(np.sqrt(np.mean(x**2))) if len(x) else 0.0,
    )


def synthesize_voice(parts: VoiceParts, voice: Voice) -> F32:
    """Synthesise the sound [n] of `parts` in `voice`; 10 ms a second of sound."""
    nyquist_hz = parts.sample_rate_hz / 2
    hz = np.linspace(0, nyquist_hz, parts.envelope.shape[1])
    source_hz = hz / np.interp(hz, _KNOTS_HZ, voice.bends)
    colour = np.interp(np.sqrt(hz / nyquist_hz), np.linspace(0, 1, len(voice.colour_db)), voice.colour_db)
    envelope = np.exp(_interpolate_bins(np.log(parts.envelope), source_hz / hz[1])) * 10 ** (colour / 10)
    aperiodicity = _interpolate_bins(parts.aperiodicity, source_hz / hz[1])
    aperiodicity += (1 - aperiodicity) * voice.breath * np.clip(hz / 2000, 0.2, 1)  # breath is heard above the pitch
    wav = _load_world().synthesize(
        np.ascontiguousarray(_convert_pitch(parts, voice)),
        np.ascontiguousarray(envelope),
        np.ascontiguousarray(np.clip(aperiodicity, 0.001, 0.999)),
        parts.sample_rate_hz,
        FRAME_MS,
    )[: parts.samples]
    rms = float(np.sqrt(np.mean(wav**2))) if len(wav) else 0.0
    out: F32 = (wav * (parts.rms / rms if rms else 0.0)).astype(np.float32)
    return out


def _convert_pitch(parts: VoiceParts, voice: Voice) -> F64:
    """Compute the fundamental [k] of `parts` in `voice`; 0 where unvoiced."""
    pitch, median_hz = parts.pitch_hz, parts.median_hz
    if voice.whisper or not median_hz:
        return np.zeros_like(pitch)
    contour = voice.pitch_hz * (np.maximum(pitch, 1.0) / median_hz) ** voice.intonation
    return np.where(pitch > 0, np.clip(contour, FLOOR_HZ, CEILING_HZ), 0.0)


def _interpolate_bins(spectra: F64, bins: F64) -> F64:
    """Interpolate spectra [k f] at fractional bins [f]; beyond the last bin they are constant."""
    bins = np.clip(bins, 0, spectra.shape[1] - 1)
    low = np.minimum(bins.astype(int), spectra.shape[1] - 2)
    share = bins - low
    out: F64 = spectra[:, low] * (1 - share) + spectra[:, low + 1] * share
    return out


@lru_cache(maxsize=1)
def _load_world() -> Any:
    """Load pyworld's compiled part; its Python part asks for `pkg_resources`, which setuptools has dropped."""
    package = importlib.util.find_spec("pyworld")
    compiled = package and importlib.machinery.PathFinder.find_spec(
        "pyworld", list(package.submodule_search_locations or [])
    )
    if compiled is None or compiled.loader is None:
        raise ConfigError("voices: expected the library pyworld, found none; pip install 'cals[voices]'")
    module = importlib.util.module_from_spec(compiled)
    compiled.loader.exec_module(module)
    return module
