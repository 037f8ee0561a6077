"""The sound of a dub: the original to the sample outside of it, voices at their samples and levels, no clipping."""

import tracemalloc
from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest

from cals.errors import ConfigError
from cals.media import AudioSource, VideoReader, VideoWriter, load_mono, probe
from cals.media.channels import build_channel_matrix, get_channel_names
from cals.media.mix import RAMP_S, MixedSound, PlacedVoice
from cals.media.placement import plan_placement
from drawing import click_track, tones, write_video, write_wav

RATE = 48_000
START, END = 96_000, 192_000


def place(path, start_s, end_s, policy="cut", voice_s=None):
    voice_s = probe(path).duration_s if voice_s is None else voice_s
    return PlacedVoice(audio=path, placement=plan_placement(voice_s, Fraction(start_s), Fraction(end_s), policy))


def mix(bed, voices, portion=10_000, **options):
    source = None if bed is None else AudioSource(bed)
    with closing(MixedSound(source, voices, **options)) as mixed:
        parts = [mixed.read(portion)]
        while parts[-1].shape[1] == portion:
            parts.append(mixed.read(portion))
    return np.concatenate(parts, axis=1)


@pytest.fixture
def bed(tmp_path):
    return write_wav(tmp_path / "bed.wav", tones(6.0, RATE, 2), RATE)


@pytest.mark.parametrize("background_gain", [0.0, 0.25, 1.0])
def test_samples_are_the_originals_outside_and_the_sum_inside(tmp_path, bed, background_gain):
    original, voice = tones(6.0, RATE, 2), 0.2 * click_track(1.5, RATE, [0.7])
    path = write_wav(tmp_path / "voice.wav", voice, RATE)
    mixed = mix(bed, [place(path, 2, 4)], lowered=[(Fraction(2), Fraction(4))], background_gain=background_gain)
    assert mixed.shape == original.shape
    assert np.array_equal(mixed[:, :START], original[:, :START])
    assert np.array_equal(mixed[:, END:], original[:, END:])
    ramp = RAMP_S * RATE
    share = np.minimum(np.minimum(np.arange(END - START), np.arange(END - START, 0, -1)) / float(ramp), 1)
    expected = original[:, START:END] * (1 - (1 - background_gain) * share)
    expected[:, : voice.shape[1]] += voice
    assert np.abs(mixed[:, START:END] - expected).max() < 1e-6


@pytest.mark.parametrize("portion", [1, 999, 16_384, 10**6])
def test_it_is_read_in_any_portion(tmp_path, portion):
    bed = write_wav(tmp_path / "bed.wav", tones(0.5, 8_000), 8_000)
    voice = write_wav(tmp_path / "voice.wav", tones(0.2, 8_000), 8_000)
    interval = (Fraction(1, 8), Fraction(3, 8))
    whole = mix(bed, [place(voice, *interval)], 5_000, lowered=[interval])
    assert np.array_equal(mix(bed, [place(voice, *interval)], portion, lowered=[interval]), whole)


def test_peaks_beyond_full_scale_are_limited_and_all_else_is_the_sum(tmp_path):
    quiet = 0.4 * np.sin(np.arange(4 * RATE) / 30).astype(np.float32)[None]
    loud = 0.3 * np.sin(np.arange(2 * RATE) / 20).astype(np.float32)[None]
    loud[:, RATE : RATE + 480] *= 3
    bed, voice = write_wav(tmp_path / "bed.wav", quiet, RATE), write_wav(tmp_path / "voice.wav", loud, RATE)
    mixed = mix(bed, [place(voice, 1, 3)], lowered=[(Fraction(1), Fraction(3))], background_gain=1.0)
    total = quiet.copy()
    total[:, RATE : 3 * RATE] += loud
    assert np.abs(total).max() > 1.2
    assert np.abs(mixed).max() <= 1
    changed = np.flatnonzero(np.abs(mixed - total)[0] > 1e-6)
    over = np.flatnonzero(np.abs(total[0]) > 1)
    assert set(over) <= set(changed)
    assert over[0] - changed[0] <= 0.0051 * RATE
    assert changed[-1] - over[-1] <= 0.0101 * RATE
    assert np.sign(mixed[0, changed]) == pytest.approx(np.sign(total[0, changed]))


def test_an_original_beyond_full_scale_is_kept_outside(tmp_path):
    original = 1.3 * tones(3.0, RATE) / 0.5
    bed = write_wav(tmp_path / "bed.wav", original, RATE)
    voice = write_wav(tmp_path / "voice.wav", tones(0.5, RATE), RATE)
    mixed = mix(bed, [place(voice, 1, 2)], lowered=[(Fraction(1), Fraction(2))])
    assert np.abs(original).max() > 1.2
    assert np.array_equal(mixed[:, :RATE], original[:, :RATE])
    assert np.array_equal(mixed[:, 2 * RATE :], original[:, 2 * RATE :])


def test_segments_that_touch_have_no_original_between(tmp_path, bed):
    voice = write_wav(tmp_path / "voice.wav", np.zeros((1, 4800), np.float32), RATE)
    touching = [(Fraction(2), Fraction(3)), (Fraction(3), Fraction(4))]
    mixed = mix(bed, [place(voice, 2, 3)], lowered=touching)
    ramp = round(RAMP_S * RATE)
    assert not mixed[:, START + ramp : END - ramp].any()
    apart = mix(bed, [], lowered=[(Fraction(2), Fraction(3)), (Fraction(31, 10), Fraction(4))])
    assert np.array_equal(apart[:, 3 * RATE : 148_800], tones(6.0, RATE, 2)[:, 3 * RATE : 148_800])


def test_voices_of_two_persons_sound_together(tmp_path, bed):
    first, second = 0.2 * tones(1.0, RATE), 0.3 * tones(2.0, RATE)[:, ::-1]
    voices = [
        place(write_wav(tmp_path / "second.wav", second, RATE), Fraction(5, 2), 5),
        place(write_wav(tmp_path / "first.wav", first, RATE), 2, 4),
    ]
    mixed = mix(bed, voices, lowered=[(Fraction(2), Fraction(5))])
    total = np.zeros((1, 6 * RATE), np.float32)
    total[:, START : START + RATE] += first
    total[:, START + RATE // 2 : START + RATE // 2 + 2 * RATE] += second
    middle = slice(START + 1000, 5 * RATE - 1000)
    assert np.abs(mixed[:, middle] - total[:, middle]).max() < 1e-6


def test_a_voice_of_another_rate_is_at_its_sample(tmp_path, bed):
    voice = write_wav(tmp_path / "voice.wav", click_track(1.0, 16_000, [0.5]), 16_000)
    mixed = mix(bed, [place(voice, Fraction(21, 10), 4)], lowered=[(Fraction(21, 10), Fraction(4))])
    inside = mixed[:, round(2.2 * RATE) : round(3.8 * RATE)]
    assert np.abs(np.abs(inside).argmax(axis=1) + round(2.2 * RATE) - round(2.6 * RATE)).max() <= 1


def test_without_an_original_the_best_voice_gives_rate_and_channels(tmp_path):
    mono, stereo = tones(1.0, 44_100), tones(0.5, 16_000, 2)
    voices = [
        place(write_wav(tmp_path / "mono.wav", mono, 44_100), 1, 2),
        place(write_wav(tmp_path / "stereo.wav", stereo), 3, 4),
    ]
    with closing(MixedSound(None, voices)) as mixed:
        assert (mixed.rate_hz, mixed.layout, mixed.channel_names) == (44_100, "stereo", ("FL", "FR"))
        sound = mixed.read(10**6)
    assert sound.shape == (2, round(3.5 * 44_100))
    assert not sound[:, :44_100].any()
    assert np.array_equal(sound[:, 44_100:88_200], np.repeat(mono, 2, axis=0))
    assert not sound[:, 88_200 : 3 * 44_100].any()


def test_a_voice_after_the_end_of_the_original_is_heard(tmp_path):
    bed = write_wav(tmp_path / "bed.wav", tones(1.0, RATE), RATE)
    voice = tones(0.5, RATE)
    mixed = mix(bed, [place(write_wav(tmp_path / "voice.wav", voice, RATE), Fraction(3, 2), 2)])
    assert mixed.shape == (1, 2 * RATE)
    assert not mixed[:, RATE : 3 * RATE // 2].any()
    assert np.abs(mixed[:, 3 * RATE // 2 :] - voice).max() < 1e-6


@pytest.mark.parametrize(
    ("voice", "bed", "heard"),
    [
        ("mono", "mono", {"FC": [1]}),
        ("mono", "stereo", {"FL": [1], "FR": [1]}),
        ("stereo", "mono", {"FC": [0.5, 0.5]}),
        ("mono", "5.1", {"FC": [1]}),
        ("stereo", "5.1", {"FL": [1, 0], "FR": [0, 1]}),
        ("5.1", "stereo", {side: [0.5, 0.5, 0.7071, 0, 0.3536, 0.3536] for side in ("FL", "FR")}),
    ],
)
def test_voices_go_to_the_channels_of_the_original(voice, bed, heard):
    names, target = get_channel_names(voice), get_channel_names(bed)
    matrix = build_channel_matrix(names, target)
    assert matrix.dtype == np.float32
    for name, row in zip(target, matrix, strict=True):
        assert row == pytest.approx(heard.get(name, [0] * len(names)))


def test_channels_without_names_keep_their_order():
    names = get_channel_names("16 channels")
    assert np.array_equal(build_channel_matrix(names, names), np.eye(16))
    assert np.array_equal(build_channel_matrix(("FC",), names), np.ones((16, 1)))


def test_a_video_is_written_with_it(tmp_path):
    video = write_video(tmp_path / "in.mp4", frames=75, sound=click_track(3.0, RATE, [0.5, 1.5]))
    voice = write_wav(tmp_path / "voice.wav", click_track(0.5, 16_000, [0.25]), 16_000)
    sound = MixedSound(AudioSource(video), [place(voice, 1, 2)], lowered=[(Fraction(1), Fraction(2))])
    with VideoReader(video) as reader, VideoWriter(tmp_path / "out.mp4", reader.format, audio=sound) as writer:
        for frame in reader:
            writer.write(frame)
    wave = np.abs(load_mono(tmp_path / "out.mp4", RATE))
    assert abs(int(wave[:48_000].argmax()) - 24_000) <= 1
    assert abs(int(wave[48_000:96_000].argmax()) - 12_000) <= 1
    assert wave[70_000:90_000].max() < 0.2  # the original's click at 1.5 s


def test_files_are_closed_with_it(tmp_path, bed, monkeypatch):
    opened, closed = [], []
    start, stop = AudioSource.__init__, AudioSource.close
    monkeypatch.setattr(AudioSource, "__init__", lambda self, *a, **k: (opened.append(self), start(self, *a, **k))[1])
    monkeypatch.setattr(AudioSource, "close", lambda self: (closed.append(self), stop(self))[1])
    voice = write_wav(tmp_path / "voice.wav", tones(1.0, RATE), RATE)
    voices = [place(voice, i, i + 2, voice_s=Fraction(1)) for i in (1, 1, 4)]
    with closing(MixedSound(AudioSource(bed), voices)) as mixed:
        assert len(opened) == 1  # voices only when they start
        mixed.read(RATE + 1000)
        assert (len(opened), closed) == (3, [])
        mixed.read(2 * RATE)
        assert (len(opened), len(closed)) == (3, 2)
        mixed.read(RATE + 1000)
        assert (len(opened), len(closed)) == (4, 2)
    assert set(map(id, closed)) == set(map(id, opened))


def test_memory_does_not_grow_with_the_length(tmp_path):
    voice = write_wav(tmp_path / "voice.wav", tones(0.5, 8_000), 8_000)

    def measure_peak(seconds):
        bed = write_wav(tmp_path / f"{seconds}.wav", tones(seconds, 8_000), 8_000)
        voices = [place(voice, i, i + 1, voice_s=Fraction(1, 2)) for i in range(1, seconds - 1, 2)]
        lowered = [(item.placement.start_s, item.placement.end_s) for item in voices]
        tracemalloc.start()
        with closing(MixedSound(AudioSource(bed), voices, lowered=lowered)) as mixed:
            while mixed.read(4000).shape[1]:
                pass
            peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert measure_peak(40) < 1.3 * measure_peak(10)


def test_bad_levels_and_nothing_to_mix_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="background_gain: expected 0"):
        MixedSound(None, [], background_gain=1.5)
    with pytest.raises(ConfigError, match="found neither"):
        MixedSound(None, [])
