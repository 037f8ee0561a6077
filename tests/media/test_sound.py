"""Sound is found where it belongs: at the right sample, on the clock of the picture, mixed to mono."""

from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest

from cals.errors import MediaError
from cals.media import AudioSource, VideoReader, VideoWriter, load_mono, mono_blocks, probe
from drawing import click_track, lag_samples, tones, write_audio, write_video, write_wav

CLICK_S = 1.25


def click_at(wave):
    return int(np.argmax(np.abs(wave)))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.m4a", "aac"),
        ("a.mp4", "aac"),
        ("a.mkv", "aac"),
        ("a.mp3", "libmp3lame"),
        ("a.ogg", "libopus"),
        ("a.mkv", "libopus"),
        ("a.flac", "flac"),
        ("a.wav", "pcm_s16le"),
    ],
)
@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_encoder_delay_does_not_move_the_click(tmp_path, name, codec, rate_hz):
    if codec == "libopus" and rate_hz != 48_000:
        rate_hz = 24_000
    path = write_audio(tmp_path / name, click_track(2.0, rate_hz, [CLICK_S]), rate_hz, codec)
    assert abs(click_at(load_mono(path, rate_hz)) - round(CLICK_S * rate_hz)) <= 1
    assert abs(click_at(load_mono(path)) - CLICK_S * 16_000) <= 1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_click_beside_a_picture(tmp_path, suffix):
    sound = click_track(2.0, 48_000, [CLICK_S])
    path = write_video(tmp_path / f"a{suffix}", frames=50, sound=sound)
    assert abs(click_at(load_mono(path, 48_000)) - CLICK_S * 48_000) <= 1


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_click_in_streams_that_state_no_encoder_delay(tmp_path, suffix):
    codec = {".ts": ("libx264", "mp2"), ".mpg": ("mpeg2video", "mp2")}[suffix]
    sound = click_track(2.0, 48_000, [CLICK_S])
    path = write_video(tmp_path / f"a{suffix}", frames=50, codec=codec[0], sound=sound, sound_codec=codec[1])
    # MPEG layer II delays by its filter bank, 481 samples at most; time stamps hold the rest.
    assert abs(click_at(load_mono(path, 48_000)) - CLICK_S * 48_000) <= 500


@pytest.mark.parametrize(("picture_starts", "expected_s"), [(500, CLICK_S - 0.5), (-300, CLICK_S + 0.3)])
def test_sound_is_placed_relative_to_the_first_picture(tmp_path, picture_starts, expected_s):
    times = [1000 + picture_starts + 40 * i for i in range(50)]
    path = tmp_path / "late.mkv"
    sound = click_track(2.0, 48_000, [CLICK_S])
    with av.open(str(path), "w", format="matroska") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = out.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for time_ms in times:
            shown = av.VideoFrame(64, 48, "yuv420p")
            shown.pts, shown.time_base = time_ms, Fraction(1, 1000)
            out.mux(video.encode(shown))
        out.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 48_000, Fraction(1, 48_000)
        out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    assert abs(click_at(load_mono(path, 48_000)) - expected_s * 48_000) <= 1
    assert probe(path).samples == round((2.0 - picture_starts / 1000) * 48_000)


def test_sound_before_a_late_picture_is_cut_across_many_blocks(tmp_path):
    sound = click_track(2.0, 48_000, [CLICK_S])
    path = write_video(tmp_path / "late.mp4", frames=50, times=list(range(10, 60)), sound=sound)
    assert abs(click_at(load_mono(path, 48_000)) - (CLICK_S - 0.4) * 48_000) <= 1
    assert probe(path).samples == round(1.6 * 48_000)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_length_is_exact_at_every_rate(tmp_path, rate_hz):
    wave = tones(1.37, rate_hz)
    path = write_wav(tmp_path / "a.wav", wave, rate_hz)
    facts = probe(path)
    assert (facts.samples, facts.sample_rate_hz, facts.channels) == (wave.shape[1], rate_hz, 1)
    assert facts.duration_s == Fraction(wave.shape[1], rate_hz)
    assert facts.peak == pytest.approx(np.abs(wave).max(), abs=1e-6)
    heard = load_mono(path)
    assert len(heard) == round(Fraction(wave.shape[1] * 16_000, rate_hz))
    at_source = np.interp(np.arange(len(heard)) * rate_hz / 16_000, np.arange(wave.shape[1]), wave[0])
    assert lag_samples(at_source, heard) == 0
    assert np.corrcoef(at_source[100:-100], heard[100:-100])[0, 1] > 0.995


def test_blocks_are_the_whole_in_pieces(tmp_path):
    path = write_wav(tmp_path / "a.wav", tones(2.3, 44_100), 44_100)
    blocks = list(mono_blocks(path, 16_000, 7000))
    assert [len(block) for block in blocks[:-1]] == [7000] * (len(blocks) - 1)
    assert np.array_equal(np.concatenate(blocks), load_mono(path))
    assert all(block.dtype == np.float32 for block in blocks)


def test_stereo_becomes_its_mean(tmp_path):
    left, right = tones(0.5, 16_000)[0], 0.2 * np.ones(8000, np.float32)
    path = write_wav(tmp_path / "a.wav", np.stack([left, right]))
    assert np.abs(load_mono(path) - (left + right) / 2).max() < 1e-6


def test_sides_that_cancel_are_heard_one_at_a_time(tmp_path, caplog):
    noise = np.random.default_rng(3).normal(0, 0.02, (2, 16_000)).astype(np.float32)
    speech = tones(1.0, 16_000)[0]
    path = write_wav(tmp_path / "a.wav", np.stack([0.8 * speech, -speech]) + noise)
    assert np.abs(load_mono(path) - (noise[1] - speech)).max() < 1e-6
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: its channels cancel each other (one is inverted); hearing FR alone"
    ]
    surround = np.zeros((6, 16_000), np.float32)
    surround[0], surround[1] = speech, -speech
    assert np.abs(load_mono(write_wav(tmp_path / "surround.wav", surround)) - speech).max() < 1e-4


@pytest.mark.parametrize("right", [np.zeros(16_000), tones(1.0, 16_000)[0], -0.2 * tones(1.0, 16_000)[0]])
def test_sides_that_do_not_cancel_are_mixed(tmp_path, right, caplog):
    left = tones(1.0, 16_000)[0]
    path = write_wav(tmp_path / "a.wav", np.stack([left, right.astype(np.float32)]))
    assert np.abs(load_mono(path) - (left + right) / 2).max() < 1e-6
    assert not caplog.records


def test_centre_speech_of_surround_is_heard_and_the_subwoofer_is_not(tmp_path):
    sound = np.zeros((6, 8000), np.float32)
    sound[3] = 0.9 * np.sin(np.arange(8000) / 40)
    assert np.abs(load_mono(write_wav(tmp_path / "low.wav", sound))).max() < 1e-6
    sound[2] = tones(0.5, 16_000)[0]
    heard = load_mono(write_wav(tmp_path / "centre.wav", sound))
    assert np.abs(heard - 0.7071 * sound[2]).max() < 1e-4


@pytest.mark.parametrize("channels", [8, 16])
def test_many_channels_are_heard(tmp_path, channels):
    # Planar frames of 8 channels or more crash PyAV, so a failure here takes the whole process with it.
    wave = tones(0.5, 16_000, channels)
    path = write_wav(tmp_path / "a.wav", wave)
    with closing(AudioSource(path)) as source:
        assert np.array_equal(source.read(8000), wave)
    assert probe(path).channels == channels
    share = [0.5, 0.5, 0.7071, 0, *[0.3536] * 4] if channels == 8 else [1 / 16] * 16
    assert np.abs(load_mono(path) - share @ wave).max() < 1e-5


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize(("channels", "kept"), [(8, 6), (16, 1)])
def test_many_channels_drive_a_video(tmp_path, suffix, channels, kept):
    wave = np.tile(click_track(2.0, 48_000, [CLICK_S]), (channels, 1))
    audio = write_wav(tmp_path / "a.wav", wave, 48_000)
    with (
        VideoReader(write_video(tmp_path / "in.mp4", frames=50)) as reader,
        VideoWriter(tmp_path / f"out{suffix}", reader.format, audio=audio) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    facts = probe(tmp_path / f"out{suffix}")
    assert facts.channels == kept
    assert facts.peak > 0.2
    assert abs(click_at(load_mono(tmp_path / f"out{suffix}", 48_000)) - CLICK_S * 48_000) <= 1


def test_silence_is_sound(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(8000, np.float32))
    assert probe(path).peak == 0
    assert not load_mono(path).any()


def test_a_source_is_read_in_any_portion(tmp_path):
    wave = tones(0.5, 16_000, 2)
    with closing(AudioSource(write_wav(tmp_path / "a.wav", wave))) as source:
        parts = [source.read(n) for n in (10, 1, 4000, 100, 9999, 5)]
    assert [part.shape[1] for part in parts] == [10, 1, 4000, 100, 8000 - 4111, 0]
    assert np.array_equal(np.concatenate(parts, axis=1), wave)
    assert (source.rate_hz, source.layout) == (16_000, "stereo")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sound_that_is_no_number_is_refused(tmp_path, bad):
    wave = tones(0.5, 16_000)[0]
    wave[5000] = bad
    path = write_wav(tmp_path / "a.wav", wave)
    for use in (probe, load_mono):
        with pytest.raises(MediaError, match="NaN"):
            use(path)


@pytest.mark.parametrize(
    ("head", "rate_hz", "speech", "pauses"),
    [
        (b"#!AMR\n", 8_000, b"\x04" + bytes(12), [b"\x44" + bytes(5), b"\x7c", b"\x7c"]),
        (b"#!AMR-WB\n", 16_000, b"\x04" + bytes(17), [b"\x4c" + bytes(5), b"\x7c", b"\x74"]),
    ],
)
def test_frames_that_telephones_leave_empty_are_20_ms_of_silence_each(tmp_path, head, rate_hz, speech, pauses, caplog):
    path = tmp_path / "call.amr"
    path.write_bytes(head + speech * 25 + b"".join(pauses) + speech * 25)
    facts = probe(path)
    assert (facts.duration_s, facts.sample_rate_hz) == (Fraction(53, 50), rate_hz)
    heard = load_mono(path, rate_hz)
    start, end = rate_hz // 2, rate_hz // 2 + 3 * rate_hz // 50
    assert not heard[start:end].any()
    assert heard[start - 100 : start].any()
    assert heard[end : end + 100].any()
    assert not caplog.records


def test_cover_art_is_no_picture(tmp_path):
    path = tmp_path / "song.mp3"
    sound = click_track(2.0, 48_000, [CLICK_S])
    with av.open(str(path), "w", format="mp3") as out:
        audio = out.add_stream("libmp3lame", rate=48_000, layout="mono")
        cover = out.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame(64, 48, "yuvj420p")))
        out.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(sound, "fltp", "mono")
        frame.sample_rate = 48_000
        for part in av.AudioResampler("fltp", "mono", 48_000, 1152).resample(frame):
            out.mux(audio.encode(part))
        out.mux(audio.encode(None))
    assert abs(click_at(load_mono(path, 48_000)) - CLICK_S * 48_000) <= 1
    with pytest.raises(MediaError, match="expected a video"):
        VideoReader(path)
