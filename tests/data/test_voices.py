import importlib.util

import numpy as np
import pytest
import torch
from buzzing import speech

from cals.data import voices
from cals.data.voices import Voice, VoiceChange, analyze_voice, convert_voice, sample_voice, synthesize_voice
from cals.errors import ConfigError
from cals.features.mel import MelConfig, compute_log_mel

needs_world = pytest.mark.skipif(importlib.util.find_spec("pyworld") is None, reason="needs pyworld: cals[voices]")


def mel(wav: np.ndarray) -> np.ndarray:
    return np.asarray(compute_log_mel(torch.from_numpy(wav[None]), MelConfig())[0])


def lag(one: np.ndarray, other: np.ndarray, reach: int = 8) -> int:
    """By how many steps `other` comes later than `one`, for which they are most alike."""
    a, b = (curve - curve.mean() for curve in (one, other))
    middle = a[reach : len(a) - reach]
    scores = [middle @ b[reach + d : len(b) - reach + d] for d in range(-reach, reach + 1)]
    return int(np.argmax(scores)) - reach


@needs_world
def test_a_new_voice_says_the_same_at_the_same_time() -> None:
    wav = speech(3.0)
    before = mel(wav).mean(axis=1)
    for seed in range(8):
        converted = convert_voice(wav, np.random.default_rng(seed), VoiceChange())
        assert converted.shape == wav.shape
        assert converted.dtype == np.float32
        assert np.sqrt(np.mean(converted**2)) == pytest.approx(np.sqrt(np.mean(wav**2)), rel=1e-3)
        assert lag(before, mel(converted).mean(axis=1)) == 0
        assert np.abs(mel(converted) - mel(wav)).mean() > 2


@needs_world
def test_loudness_is_in_place_within_half_a_mel_step() -> None:
    wav = speech(3.0)

    def envelope(sound: np.ndarray) -> np.ndarray:
        smooth: np.ndarray = np.log10(np.convolve(sound**2, np.hanning(640), "same") + 1e-6)
        return smooth

    parts = analyze_voice(wav)
    for pitch_hz in (90.0, 220.0):
        converted = synthesize_voice(parts, Voice(pitch_hz=pitch_hz))
        assert abs(lag(envelope(wav), envelope(converted), 160)) <= 80


@needs_world
def test_pitch_and_formants_go_where_they_are_sent() -> None:
    parts = analyze_voice(speech(2.0))
    assert parts.median_hz == pytest.approx(110, rel=0.1)  # its melody goes up and down by a tenth
    higher = synthesize_voice(parts, Voice(pitch_hz=220.0))
    assert analyze_voice(higher).median_hz == pytest.approx(220, rel=0.1)

    def centre(sound: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(sound)) ** 2
        hz = np.fft.rfftfreq(len(sound), 1 / 16_000)
        return float((power * hz).sum() / power.sum())

    shorter = synthesize_voice(parts, Voice(pitch_hz=110.0, bends=(1.2,) * 5))
    same = synthesize_voice(parts, Voice(pitch_hz=110.0))
    assert centre(shorter) / centre(same) == pytest.approx(1.2, rel=0.05)
    assert analyze_voice(shorter).median_hz == pytest.approx(110, rel=0.1)


@needs_world
def test_a_whisper_has_no_pitch_and_silence_stays_silent() -> None:
    whisper = synthesize_voice(analyze_voice(speech()), Voice(pitch_hz=110.0, whisper=True))
    voiced = analyze_voice(whisper).pitch_hz > 0
    assert voiced.mean() < 0.2
    silence = convert_voice(np.zeros(16_000, np.float32), np.random.default_rng(0), VoiceChange())
    assert float(np.abs(silence).max()) < 1e-6


@needs_world
def test_voices_are_seeded() -> None:
    wav = speech(1.0)
    first = convert_voice(wav, np.random.default_rng(1), VoiceChange())
    np.testing.assert_array_equal(first, convert_voice(wav, np.random.default_rng(1), VoiceChange()))
    assert not np.array_equal(first, convert_voice(wav, np.random.default_rng(2), VoiceChange()))


def test_higher_voices_have_shorter_throats() -> None:
    sampled = [sample_voice(np.random.default_rng(seed), VoiceChange(), 100.0) for seed in range(200)]
    pitch, tract = np.log([voice.pitch_hz for voice in sampled]), np.log([np.mean(voice.bends) for voice in sampled])
    assert np.corrcoef(pitch, tract)[0, 1] > 0.5
    assert min(pitch) >= np.log(80)
    assert 0 < sum(voice.whisper for voice in sampled) < 30


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    voices._load_world.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'cals\[voices\]'"):
        analyze_voice(np.zeros(100, np.float32))
    with pytest.raises(ConfigError, match="0 < low <= high"):
        VoiceChange(pitch_hz=(200.0, 100.0))
