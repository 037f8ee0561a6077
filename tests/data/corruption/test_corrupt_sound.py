"""Noise lies as far below the clip's sound as asked, and nothing changes outside a burst."""

import numpy as np
import pytest

from cals.data.corruption.bursts import Burst, draw_corruption
from cals.data.corruption.config import AUDIO_KINDS, TESTING, select_kinds
from cals.data.corruption.noise import LOOP_S, RATE_HZ, draw_burst_noise
from cals.data.corruption.sound import FADE_S, build_sound_burst, corrupt_sound
from cals.errors import ConfigError
from cals.types import F32
from drawing import tones

SPF = 640
NOISES = tuple(kind for kind in AUDIO_KINDS if kind != "dropout")
SPEECH: F32 = tones(3.0, RATE_HZ)[0]
OTHERS = [tones(2.0 + i / 7, RATE_HZ)[0] * (1 + i) / 4 for i in range(4)]


def burst(kind: str, strength: float = 5.0, start: int = 10, end: int = 40, seed: int = 3) -> Burst:
    return Burst(start=start, end=end, kind=kind, strength=strength, seed=seed)


def power(wav: F32) -> float:
    return float(np.mean(wav.astype(np.float64) ** 2))


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 15.0])
@pytest.mark.parametrize("others", [True, False])
def test_the_ratio_is_as_asked(kind: str, snr_db: float, others: bool) -> None:
    found = corrupt_sound(SPEECH, [burst(kind, snr_db)], SPF, OTHERS if others else ())
    added = (found - SPEECH)[10 * SPF : 40 * SPF]
    assert 10 * np.log10(power(SPEECH) / power(added)) == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("kind", AUDIO_KINDS)
def test_the_truth_is_where_samples_differ(kind: str) -> None:
    noisy = SPEECH + np.random.default_rng(0).normal(0, 0.01, len(SPEECH)).astype(np.float32)
    kept = noisy.copy()
    for seed in range(5):
        drawn = draw_corruption(np.random.default_rng(seed), 75, select_kinds(TESTING, (kind,)))
        found = corrupt_sound(noisy, drawn.audio, SPF, OTHERS)
        differs = (found != noisy).reshape(75, SPF)
        assert differs.any(axis=1).tolist() == drawn.truth["audio"].tolist()
        assert differs[drawn.truth["audio"]].mean() > 0.95
        assert np.array_equal(found, corrupt_sound(noisy, drawn.audio, SPF, OTHERS))
    assert np.array_equal(noisy, kept)


def test_a_dropped_stretch_is_silent() -> None:
    found = corrupt_sound(SPEECH, [burst("dropout", 1.0)], SPF)
    fade = round(FADE_S * RATE_HZ)
    assert not found[10 * SPF + fade : 40 * SPF - fade].any()


def test_bursts_rise_and_fall_smoothly() -> None:
    steady = np.full(75 * SPF, 0.5, np.float32)
    found = corrupt_sound(steady, [burst("dropout", 1.0)], SPF)
    assert np.abs(np.diff(found)).max() < 0.5 * np.pi / 2 / (FADE_S * RATE_HZ) * 1.05


def test_nothing_is_clipped_and_silence_is_noisy_too() -> None:
    loud = 0.99 * np.sign(SPEECH)
    assert np.abs(corrupt_sound(loud, [burst("white", -5.0)], SPF)).max() > 2
    silent = np.zeros_like(SPEECH)
    for kind in NOISES:  # there is nothing to babble of
        assert 0 < power(corrupt_sound(silent, [burst(kind)], SPF)) < 1e-7


def test_babble_is_others_or_the_clip_itself() -> None:
    assert power(draw_burst_noise("babble", 1, 9600, OTHERS, SPEECH)) == pytest.approx(1, abs=1e-3)
    with_others = draw_burst_noise("babble", 1, 9600, OTHERS, SPEECH)
    assert np.array_equal(with_others, draw_burst_noise("babble", 1, 9600, OTHERS, SPEECH * 0 + 1))
    own = draw_burst_noise("babble", 1, 9600, (), SPEECH)
    assert not np.array_equal(own, with_others)
    assert not np.array_equal(own, draw_burst_noise("babble", 1, 9600, (), OTHERS[0]))
    # as loud a voice in a soft clip as in a loud one
    soft = [wav * (0.01 if i % 2 else 1) for i, wav in enumerate(OTHERS)]
    assert np.allclose(draw_burst_noise("babble", 1, 9600, soft, SPEECH), with_others, atol=1e-4)


def test_colours_are_what_their_names_say() -> None:
    def slope(kind: str) -> float:
        """Decibels an octave between 200 and 6400 Hz."""
        spectrum = np.abs(np.fft.rfft(draw_burst_noise(kind, 1, 4 * RATE_HZ, (), SPEECH))) ** 2
        bands = [spectrum[4 * low : 8 * low].mean() for low in (200, 400, 800, 1600, 3200)]
        return float(np.polyfit(np.arange(5), 10 * np.log10(bands), 1)[0])

    assert slope("white") == pytest.approx(0, abs=0.5)
    assert slope("pink") == pytest.approx(-3, abs=0.5)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("seconds", [0.5, LOOP_S + 3.3])
def test_any_rate_length_and_blocks(rate_hz: int, seconds: float) -> None:
    samples = round(seconds * rate_hz)
    sound_burst = build_sound_burst(
        burst("pink", 10.0), 100, 100 + samples, power=0.02, rate_hz=rate_hz, others=(), own=SPEECH
    )
    whole = np.zeros((2, samples + 300), np.float32)
    sound_burst.apply(whole, 0)
    assert 10 * np.log10(0.02 / power(whole[0, 100 : 100 + samples])) == pytest.approx(10, abs=0.2)
    assert not whole[:, :100].any()
    assert not whole[:, 100 + samples :].any()
    pieces = np.zeros_like(whole)
    for first in range(0, whole.shape[1], 9_999):
        sound_burst.apply(pieces[:, first : first + 9_999], first)
    assert np.array_equal(pieces, whole)


def test_frames_beyond_the_sound_have_none() -> None:
    short = SPEECH[: 20 * SPF]
    found = corrupt_sound(short, [burst("white"), burst("pink", start=50, end=60)], SPF)
    assert len(found) == len(short)
    assert np.array_equal(found[: 10 * SPF], short[: 10 * SPF])
    with pytest.raises(ConfigError, match="samples_per_frame: expected 1 or more"):
        corrupt_sound(short, [], 0)
