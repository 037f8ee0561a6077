"""Whatever is handed in, the answer is a MediaError that says what was expected and found, or the frames there are."""

import logging
import os
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from cals.errors import MediaError
from cals.media import VideoReader, load_mono, probe
from drawing import index_of, picture, tones, write_audio, write_video, write_wav


def read_all(path, **options):
    with VideoReader(path, **options) as reader:
        return list(reader)


def cut(path, share):
    """Write the first `share` of a file to another file."""
    data = path.read_bytes()
    short = path.with_name(f"short_{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "clip.mp4", frames=60, options={"g": "10"}, sound=tones(2.4, 48_000))


@pytest.fixture
def streamable(tmp_path):
    return write_video(
        tmp_path / "fast.mp4", frames=60, options={"g": "10"}, container_options={"movflags": "+faststart"}
    )


def test_missing_file(tmp_path):
    for use in (read_all, probe, load_mono):
        with pytest.raises(MediaError, match="found nothing there"):
            use(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize(("name", "hint"), [("-", "standard input"), ("https://host/a.mp4", "download it")])
def test_names_that_are_no_files(name, hint):
    for use in (read_all, probe, load_mono):
        with pytest.raises(MediaError, match=f"found nothing there; .*{hint}"):
            use(name)


def test_directory(tmp_path):
    for use in (read_all, probe):
        with pytest.raises(MediaError, match="found a directory"):
            use(tmp_path)


def test_a_path_through_a_file(clip):
    with pytest.raises(MediaError, match="expected a"):
        read_all(clip / "inside.mp4")


@pytest.mark.parametrize("name", ["empty.mp4", "empty.wav", "empty.png"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    for use in (read_all, probe):
        with pytest.raises(MediaError, match="found an empty file"):
            use(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["hello\n" * 200, "ffconcat version 1.0\nfile /etc/passwd\n", "#EXTM3U\nhttp://x/y.ts\n"]
)
def test_text_named_mp4(tmp_path, text):
    (tmp_path / "notes.mp4").write_text(text)
    for use in (read_all, probe):
        with pytest.raises(MediaError, match="expected a"):
            use(tmp_path / "notes.mp4")


def test_random_bytes(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    for use in (read_all, probe):
        with pytest.raises(MediaError):
            use(tmp_path / "noise.mp4")


def test_truncated_mp4_without_its_index(clip):
    for options in ({}, {"keep_going": True}):
        with pytest.raises(MediaError, match="cannot be read"):
            read_all(cut(clip, 0.6), **options)


@pytest.mark.parametrize("share", [0.95, 0.6])
def test_truncated_streamable_mp4_is_noticed(streamable, share, caplog):
    short = cut(streamable, share)
    with pytest.raises(MediaError, match=r"at \d+\.\d+ s.*--keep-going"):
        read_all(short)
    with caplog.at_level(logging.WARNING):
        frames = read_all(short, keep_going=True)
    assert 5 < len(frames) < 60
    assert [record for record in caplog.records if "damaged" in record.message]
    # A decoder with threads drops what follows the damage, one without keeps what it can: all at their own times.
    assert {f.time_s for f in frames} <= {f.time_s for f in read_all(streamable)}
    assert [f.time_s for f in frames] == sorted(f.time_s for f in frames)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".avi", "mpeg4")])
def test_other_truncated_containers_are_noticed(tmp_path, suffix, codec):
    short = cut(write_video(tmp_path / f"a{suffix}", frames=60, codec=codec, options={"g": "10"}), 0.6)
    with pytest.raises(MediaError, match="--keep-going"):
        read_all(short)
    assert 2 < len(read_all(short, keep_going=True)) < 60


def test_damage_in_the_middle(streamable):
    data = bytearray(streamable.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    streamable.write_bytes(data)
    with pytest.raises(MediaError, match="--keep-going"):
        read_all(streamable)
    assert len(read_all(streamable, keep_going=True)) > 30


def test_truncated_sound(tmp_path):
    path = write_audio(tmp_path / "a.m4a", tones(4.0, 48_000))
    with pytest.raises(MediaError):
        probe(cut(path, 0.5))
    flac = write_audio(tmp_path / "a.flac", tones(4.0, 48_000), codec="flac")
    assert 0 < probe(cut(flac, 0.5), keep_going=True).duration_s < 4


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.wav", "pcm_s16le"),
        ("a.wav", "pcm_f32le"),
        ("a.wav", "adpcm_ms"),
        ("a.w64", "pcm_s24le"),
        ("a.aiff", "pcm_s16be"),
        ("a.au", "pcm_s16be"),
        ("a.caf", "pcm_s16le"),
        ("a.mp3", "libmp3lame"),
        ("a.mkv", "aac"),
    ],
)
def test_sound_shorter_than_its_header_promises(tmp_path, name, codec, caplog):
    path = write_audio(tmp_path / name, tones(4.0, 48_000), codec=codec)
    assert float(probe(path).duration_s) == pytest.approx(4, abs=0.03)
    short = cut(path, 0.5)
    for use in (probe, load_mono):
        with pytest.raises(
            MediaError, match=r"found the end of sound that has to last 4\.0\d s by its header at [12]\."
        ):
            use(short)
    assert not caplog.records
    assert float(probe(short, keep_going=True).duration_s) == pytest.approx(2, abs=0.1)
    assert [record.getMessage().count("last 4.0") for record in caplog.records] == [1]


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_promises_nothing(tmp_path, size, caplog):
    path = write_wav(tmp_path / "a.wav", tones(1.0, 16_000), codec="pcm_s16le")
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + size.to_bytes(4, "little") + data[at + 4 :])
    assert probe(path).duration_s == 1
    assert not caplog.records


def test_sound_of_no_length(tmp_path):
    path = write_wav(tmp_path / "a.wav", tones(0.1, 16_000))
    path.write_bytes(path.read_bytes()[:44])
    with pytest.raises(MediaError):
        probe(path)
    with pytest.raises(MediaError):
        load_mono(path)


def test_video_without_sound_as_speech(tmp_path):
    silent = write_video(tmp_path / "a.mp4", frames=3)
    for use in (probe, load_mono):
        with pytest.raises(MediaError, match="expected sound, found only video"):
            use(silent)


def test_sound_or_image_in_the_wrong_place(tmp_path):
    wav = write_wav(tmp_path / "a.wav", tones(0.2, 16_000))
    with pytest.raises(MediaError, match="expected a video or an image, found only audio"):
        read_all(wav)
    cv2.imwrite(str(tmp_path / "a.png"), picture(0))
    with pytest.raises(MediaError, match="expected sound"):
        probe(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_image(tmp_path, suffix):
    cv2.imwrite(str(tmp_path / f"a{suffix}"), picture(0, (256, 256)))
    short = cut(tmp_path / f"a{suffix}", 0.5)
    with pytest.raises(MediaError, match="cut short"):
        read_all(short)


def test_image_header_with_garbage(tmp_path):
    for head in (b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"):
        (tmp_path / "a.png").write_bytes(head + bytes(300) + b"IEND")
        with pytest.raises(MediaError):
            read_all(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["my clip.mp4", "ľúbosť 口.mp4", "a:b.mp4", "concat:x.mp4", "50%d.mp4", "-x.mp4"])
def test_names_are_only_names(tmp_path, monkeypatch, name):
    write_video(tmp_path / "plain.mp4", frames=3, sound=tones(0.2, 48_000)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read_all(name)) == 3
    assert probe(name).channels == 1


def test_repeated_and_missing_time_stamps_are_repaired(tmp_path, caplog):
    # Written as raw H.264, which has no time stamps at all.

    with av.open(str(tmp_path / "raw.h264"), "w", format="h264") as out:
        video = out.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(8):
            out.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        out.mux(video.encode(None))
    frames = read_all(tmp_path / "raw.h264")
    assert len(frames) == 8
    assert all(b.time_s > a.time_s for a, b in pairwise(frames))
    assert {float(frame.duration_s) for frame in frames} == {0.04}


def test_joined_recordings_play_on(tmp_path):
    part = write_video(tmp_path / "a.ts", frames=40, sound=tones(1.6, 48_000), sound_codec="mp2").read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    frames = read_all(tmp_path / "joined.ts", keep_going=True)
    assert [index_of(frame.rgb()) for frame in frames] == [*range(40), *range(40)]
    assert {frame.duration_s for frame in frames} == {Fraction(1, 25)}
    assert float(probe(tmp_path / "joined.ts", keep_going=True).duration_s) == pytest.approx(3.2, abs=0.1)


@pytest.mark.parametrize("sound", [None, tones(1.0, 48_000)])
@pytest.mark.parametrize("options", [{}, {"preset": "medium", "bf": "3", "profile": "high"}])
def test_recordings_of_other_sizes_joined_play_at_the_first_size(tmp_path, options, sound, caplog):
    parts = []
    for size, codec in (((64, 48), {}), ((96, 96), options), ((64, 48), {})):
        path = write_video(tmp_path / "part.ts", frames=25, size=size, options=codec, sound=sound, sound_codec="mp2")
        parts.append(path.read_bytes())
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    frames = read_all(tmp_path / "joined.ts")
    assert [index_of(frame.rgb()) for frame in frames] == [*range(25)] * 3
    assert {(frame.width, frame.height) for frame in frames} == {(64, 48)}
    assert [frame.time_s for frame in frames] == [Fraction(i, 25) for i in range(75)]
    said = [record.getMessage() for record in caplog.records if "pictures go" in record.getMessage()]
    assert said == [f"{tmp_path / 'joined.ts'}: pictures go from 64x48 to 96x96; scaled to the first size"]


def test_a_transport_stream_with_lost_packets_is_still_damaged(tmp_path):
    path = write_video(tmp_path / "a.ts", frames=60, size=(160, 120), options={"g": "30", "crf": "10"})
    data = path.read_bytes()
    middle = len(data) // 3 // 188 * 188
    path.write_bytes(data[:middle] + data[middle + 3 * 188 :])
    with pytest.raises(MediaError, match="--keep-going"):
        read_all(path)
    path.write_bytes(data[: len(data) * 2 // 3])
    assert read_all(path, keep_going=True)


def test_moving_pictures_in_image_files(tmp_path, caplog):
    with av.open(str(tmp_path / "moves.png"), "w", format="apng") as out:
        video = out.add_stream("apng", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "rgb24"
        for index in range(5):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), "rgb24")))
        out.mux(video.encode(None))
    frames = read_all(tmp_path / "moves.png")
    assert [index_of(frame.rgb()) for frame in frames] == list(range(5))
    assert {float(frame.duration_s) for frame in frames} == {0.1}
    still = cv2.imencode(".webp", picture(1)[..., ::-1])[1].tobytes()
    (tmp_path / "still.webp").write_bytes(still)
    assert len(read_all(tmp_path / "still.webp")) == 1
    assert "animated" not in caplog.text


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match="expected a regular file, found a pipe"):
        VideoReader(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("rate_hz", [100, 223_477_573])
def test_a_sample_rate_that_is_none_is_refused(tmp_path, rate_hz):
    path = write_wav(tmp_path / "a.wav", tones(0.4, 48_000, 2), rate_hz)
    for keep_going in (False, True):
        with pytest.raises(MediaError, match=f"found {rate_hz}"):
            load_mono(path, keep_going=keep_going)
