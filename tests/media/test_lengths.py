"""The length policies: which frame is shown when, on videos that are hard to seek in."""

import gc
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from cals.errors import ConfigError
from cals.media import VideoReader, VideoWriter, fit_length, rewind
from drawing import index_of, picture, strip_default_duration, write_video

RATE = Fraction(30000, 1001)
OPEN_GOP = {"g": "20", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}
KINDS = {
    "closed.mp4": {"options": {"g": "20", "bf": "3"}},
    "open.mp4": {"options": OPEN_GOP},
    "open.mkv": {"options": OPEN_GOP},
    "open.ts": {"options": OPEN_GOP},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "open-gop=1:keyint=20:log-level=none"}},
    "old.mpg": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "old.avi": {"codec": "mpeg4", "options": {"g": "12"}},
    "web.webm": {"codec": "libvpx-vp9", "options": {"g": "20", "deadline": "realtime", "cpu-used": "8"}},
    "one_key.mp4": {"options": {"g": "999"}},
}


def list_indices(path, policy, seconds):
    return list(fit_length(path, policy, Fraction(seconds)))


def compute_bounce_order(count, length):
    order = list(range(count))
    while len(order) < length:
        order += [*range(count - 2, -1, -1), *range(1, count)]
    return order[:length]


def assert_back_to_back(frames):
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[0].time_s == 0
    assert all(a.time_s + a.duration_s == b.time_s for a, b in pairwise(frames))


@pytest.mark.parametrize("name", KINDS)
def test_bounce_is_exact_forward_and_backward(tmp_path, name):
    path = write_video(tmp_path / name, rate=RATE, frames=90, **KINDS[name])
    with VideoReader(path) as reader:
        originals = list(reader)
    frames = list_indices(path, "bounce", 9)
    order = compute_bounce_order(90, len(frames))
    assert_back_to_back(frames)
    assert len(frames) == pytest.approx(9 * RATE, abs=3)
    for frame, index in zip(frames, order, strict=True):
        assert frame.duration_s == originals[index].duration_s
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, originals[index].planes, strict=True))


def test_bounce_of_a_late_stream(tmp_path):
    times = [90_000 + 3600 * i for i in range(70)]
    path = write_video(tmp_path / "late.mkv", frames=70, time_base=Fraction(1, 90_000), times=times, options=OPEN_GOP)
    frames = list_indices(path, "bounce", 6)
    assert [index_of(frame.rgb()) for frame in frames] == compute_bounce_order(70, 150)


def test_variable_durations_travel_with_their_frames(tmp_path):
    times = [0, 40, 200, 210, 300]
    path = write_video(tmp_path / "vfr.mp4", rate=20, frames=5, time_base=Fraction(1, 1000), times=times)
    frames = list_indices(path, "bounce", 1)
    order = compute_bounce_order(5, len(frames))
    lengths = [40, 160, 10, 90, int(frames[4].duration_s * 1000)]
    assert [frame.duration_s * 1000 for frame in frames] == [lengths[index] for index in order]
    assert_back_to_back(frames)
    assert frames[-1].time_s < 1 <= frames[-1].time_s + frames[-1].duration_s


@pytest.mark.parametrize(("frames_of_memory", "most"), [(1000, rewind.CHUNK), (5, 5), (0, 1)])
def test_seeking_never_keeps_many_frames(tmp_path, monkeypatch, frames_of_memory, most):
    monkeypatch.setattr(rewind, "CHUNK_BYTES", frames_of_memory * 64 * 48 * 3 // 2)
    path = write_video(tmp_path / "a.mp4", frames=120, options={"g": "15"})
    sizes = []
    real = rewind.Rewinder.read_chunk
    monkeypatch.setattr(
        rewind.Rewinder, "read_chunk", lambda self, a, b: sizes.append(len(found := real(self, a, b))) or found
    )
    frames = fit_length(path, "bounce", Fraction(9))
    assert [index_of(frame.rgb()) for frame in frames] == compute_bounce_order(120, 225)
    assert max(sizes) == most


def test_nothing_is_decoded_beyond_the_last_frame(tmp_path, monkeypatch):
    monkeypatch.setattr(rewind, "CHUNK", 4)  # else so short a video is kept
    monkeypatch.setattr(rewind.Rewinder, "read_chunk", lambda *_: pytest.fail("decoded to play backwards"))
    path = write_video(tmp_path / "a.mp4", frames=25)
    assert len(list_indices(path, "bounce", 1)) == 25


def test_a_closed_reader_gives_back_what_its_codec_holds(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=10)

    def opened():
        containers = [held for held in gc.get_objects() if type(held) is av.container.InputContainer]
        return sum(container.name == f"file:{path}" for container in containers)

    with VideoReader(path) as reader:
        next(reader)
        assert opened() == 1
    assert opened() == 0
    assert reader.is_seekable  # may be asked for afterwards
    reader.close()


def test_loop_starts_again(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=40)
    frames = list_indices(path, "loop", 4)
    assert [index_of(frame.rgb()) for frame in frames] == [i % 40 for i in range(100)]
    assert_back_to_back(frames)


def test_audio_holds_the_last_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=10)
    frames = list_indices(path, "audio", 1)
    assert [index_of(frame.rgb()) for frame in frames] == [*range(10), *[9] * 15]
    assert all(frame.has_same_pixels(frames[9]) for frame in frames[10:])
    assert not frames[8].has_same_pixels(frames[9])
    assert_back_to_back(frames)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx-vp9")])
@pytest.mark.parametrize("steps_ms", [[40, 40], [40, 17, 40, 63, 40, 11, 69, 40] * 4, [17, 16, 17, 9, 31, 17] * 6])
def test_a_last_frame_is_held_by_the_steps_between_the_others(tmp_path, suffix, codec, steps_ms):
    times = np.cumsum([0, *steps_ms]).tolist()
    path = write_video(
        tmp_path / f"a{suffix}", frames=len(times), codec=codec, time_base=Fraction(1, 1000), times=times
    )
    step_s = Fraction(int(np.median(steps_ms)), 1000)
    with VideoReader(strip_default_duration(path)) as reader:
        assert reader.format.rate == 1 / step_s
        with VideoWriter(tmp_path / "out.mp4", reader.format) as writer:
            writer.write(next(reader))
    held = list_indices(path, "audio", 3)[len(times) :]
    assert {frame.duration_s for frame in held} == {step_s}
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.level < 40  # H.264: a thousand frames a second need level 6


@pytest.mark.parametrize("policy", ["audio", "loop", "bounce"])
def test_a_longer_video_is_cut(tmp_path, policy):
    frames = list_indices(write_video(tmp_path / "a.mp4", frames=50), policy, Fraction(99, 100))
    assert [index_of(frame.rgb()) for frame in frames] == list(range(25))


def test_video_is_as_long_as_the_picture(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=30)
    assert len(list_indices(path, "video", 9)) == len(list_indices(path, "video", Fraction(1, 2))) == 30


@pytest.mark.parametrize("policy", ["audio", "loop", "bounce"])
def test_a_photo_is_shown_at_25_frames_a_second(tmp_path, policy):
    cv2.imwrite(str(tmp_path / "photo.png"), picture(3))
    frames = list_indices(tmp_path / "photo.png", policy, 2)
    assert [frame.time_s for frame in frames] == [Fraction(i, 25) for i in range(50)]
    assert all(frame.has_same_pixels(frames[0]) for frame in frames)


def test_two_frames_bounce(tmp_path):
    frames = list_indices(write_video(tmp_path / "a.mp4", frames=2), "bounce", Fraction(6, 25))
    assert [index_of(frame.rgb()) for frame in frames] == [0, 1, 0, 1, 0, 1]


def test_unknown_policy(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=2)
    with pytest.raises(ConfigError, match="bounce"):
        next(fit_length(path, "forever", Fraction(1)))


def test_a_stream_without_time_stamps_loops_instead_of_bouncing(tmp_path, monkeypatch, caplog):
    clip = write_video(tmp_path / "clip.mp4", frames=40, options={"g": "10"})
    raw = tmp_path / "raw.h264"  # raw H.264 has no time stamps: playing it backwards would mean starting over and over
    with av.open(str(clip)) as source, av.open(str(raw), "w", format="h264") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    monkeypatch.setattr(rewind, "MAX_UNSEEKABLE_FRAMES", 39)
    opened = []
    reader = rewind.VideoReader
    monkeypatch.setattr(rewind, "VideoReader", lambda *args, **options: opened.append(1) or reader(*args, **options))
    frames = list_indices(raw, "bounce", 4)
    shown = [index_of(frame.rgb()) for frame in frames]
    assert shown == [index % 40 for index in range(len(frames))]
    assert len(opened) <= len(frames) // 40 + 1
    said = [record.message for record in caplog.records]
    assert sum("starting again instead" in line for line in said) == 1
    assert sum("no usable time stamp" in line for line in said) == 1
