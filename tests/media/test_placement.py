"""Voices fit their places to the sample: as they are, faster at the same pitch, cut with a fade, or going on."""

from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest

from cals.errors import ConfigError
from cals.media import AudioSource, mono_blocks
from cals.media.placement import FADE_S, Placement, place_voice, plan_placement
from drawing import click_track, lag_samples, tones, write_wav

START, END = Fraction(2), Fraction(4)


def place(path, placement, rate_hz):
    with closing(AudioSource(path)) as source:
        return np.concatenate(list(place_voice(source, placement, rate_hz)), axis=1)


@pytest.mark.parametrize("policy", ["stretch", "cut", "spill"])
@pytest.mark.parametrize("voice_s", [Fraction(1), Fraction(2)])
def test_a_voice_that_fits_stays_as_it_is(policy, voice_s):
    planned = plan_placement(voice_s, START, END, policy, limit_s=END)
    assert planned == Placement(start_s=START, end_s=START + voice_s, voice_s=voice_s)
    assert planned.lost_s == 0


@pytest.mark.parametrize(
    ("policy", "voice_s", "limit_s", "end_s", "tempo", "lost_s"),
    [
        ("stretch", Fraction(5, 2), None, END, Fraction(5, 4), 0),
        ("stretch", Fraction(3), None, END, Fraction(3, 2), 0),
        ("stretch", Fraction(7, 2), None, END, Fraction(3, 2), Fraction(1, 2)),
        ("cut", Fraction(5, 2), None, END, 1, Fraction(1, 2)),
        ("spill", Fraction(5, 2), None, Fraction(9, 2), 1, 0),
        ("spill", Fraction(5, 2), Fraction(6), Fraction(9, 2), 1, 0),
        ("spill", Fraction(5, 2), Fraction(17, 4), Fraction(17, 4), 1, Fraction(1, 4)),
        ("spill", Fraction(5, 2), END, END, 1, Fraction(1, 2)),
    ],
)
def test_a_longer_voice_follows_the_policy(policy, voice_s, limit_s, end_s, tempo, lost_s):
    planned = plan_placement(voice_s, START, END, policy, limit_s=limit_s)
    assert (planned.start_s, planned.end_s, planned.tempo, planned.lost_s) == (START, end_s, tempo, lost_s)


def test_other_policies_are_refused():
    with pytest.raises(ConfigError, match="fit: expected one of stretch, cut, spill, found 'squeeze'"):
        plan_placement(Fraction(3), START, END, "squeeze")


@pytest.mark.parametrize("start_s", [Fraction(0), Fraction(1001, 30_000)])
def test_an_unchanged_voice_is_the_file_to_the_sample(tmp_path, start_s):
    wave = tones(0.7, 44_100, 2)
    path = write_wav(tmp_path / "a.wav", wave, 44_100)
    voice_s = Fraction(wave.shape[1], 44_100)
    heard = place(path, plan_placement(voice_s, start_s, start_s + 1), 44_100)
    assert np.array_equal(heard, wave)


def test_a_cut_voice_fades_out_over_20_ms(tmp_path):
    wave = tones(3.0, 16_000)
    path = write_wav(tmp_path / "a.wav", wave)
    heard = place(path, plan_placement(Fraction(3), START, END, "cut"), 16_000)
    fade = round(FADE_S * 16_000)
    assert heard.shape == (1, 32_000)
    assert np.array_equal(heard[:, :-fade], wave[:, : 32_000 - fade])
    ramp = np.arange(fade, 0, -1) / fade
    assert np.abs(heard[:, -fade:] - wave[:, 32_000 - fade : 32_000] * ramp).max() < 1e-6


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("tempo", [Fraction(101, 100), Fraction(4, 3), Fraction(3, 2)])
def test_a_faster_voice_has_its_place_to_the_sample_and_the_same_pitch(tmp_path, rate_hz, tempo):
    voice_s = END * tempo - START * tempo
    t = np.arange(round(voice_s * 44_100)) / 44_100
    wave = 0.4 * np.sin(2 * np.pi * np.array([[220.0], [330.0]]) * t)
    path = write_wav(tmp_path / "a.wav", wave.astype(np.float32), 44_100)
    heard = place(path, plan_placement(voice_s, START, END, "stretch"), rate_hz)
    assert heard.shape == (2, 2 * rate_hz)
    for row, pitch_hz in zip(heard, (220, 330), strict=True):
        spectrum = np.abs(np.fft.rfft(row * np.hanning(len(row))))
        assert abs(spectrum.argmax() / 2 - pitch_hz) <= 0.5  # the resolution of 2 s
    assert np.sqrt(np.square(heard[:, rate_hz // 4 : -rate_hz // 4]).mean()) == pytest.approx(
        0.4 / np.sqrt(2), rel=0.02
    )


def test_sounds_of_a_faster_voice_keep_their_order_and_times(tmp_path):
    bursts_s = [0.3, 0.9, 1.4, 2.2]
    rng = np.random.default_rng(0)
    wave = np.zeros((1, 120_000), np.float32)
    for burst_s in bursts_s:
        wave[:, round(burst_s * 48_000) :][:, :2400] = rng.normal(0, 0.3, (1, 2400))
    path = write_wav(tmp_path / "a.wav", wave, 48_000)
    heard = place(path, plan_placement(Fraction(5, 2), START, END, "stretch"), 48_000)[0]
    loud = np.flatnonzero(np.abs(heard) > 0.05) / 48_000
    starts = loud[np.insert(np.diff(loud) > 0.1, 0, True)]
    assert np.abs(starts * 1.25 - bursts_s).max() < 0.03


def test_speech_and_lips_hear_the_same_voice(tmp_path):
    wave = tones(2.6, 48_000)
    path = write_wav(tmp_path / "a.wav", wave, 48_000)
    planned = plan_placement(Fraction(13, 5), START, END, "stretch")
    heard = place(path, planned, 48_000)[0]
    lips = np.concatenate(list(mono_blocks(path, 16_000, 1000, placement=planned)))
    assert len(lips) == 32_000
    at_lips = np.interp(np.arange(32_000) * 3, np.arange(96_000), heard)
    assert lag_samples(at_lips, lips) == 0
    assert np.corrcoef(at_lips[100:-100], lips[100:-100])[0, 1] > 0.99


@pytest.mark.parametrize("samples", [50, 900, 3000])
def test_very_short_voices_are_not_lost(tmp_path, samples):
    path = write_wav(tmp_path / "a.wav", click_track(samples / 48_000, 48_000, [samples / 96_000]), 48_000)
    voice_s = Fraction(samples, 48_000)
    heard = place(path, plan_placement(voice_s, START, START + voice_s / Fraction(5, 4), "stretch"), 48_000)
    assert abs(heard.shape[1] - samples / 1.25) <= 1
    assert np.abs(heard).max() > 0.3


def test_a_file_shorter_than_planned_ends_in_silence(tmp_path):
    path = write_wav(tmp_path / "a.wav", tones(0.5, 16_000))
    heard = place(path, plan_placement(Fraction(1), START, END), 16_000)
    assert heard.shape == (1, 16_000)
    assert not heard[:, 8000:].any()
