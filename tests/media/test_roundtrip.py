"""A video read and written again keeps its frames, their exact times, its colours and its sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cals.media import VideoReader, VideoWriter, load_mono, probe
from cals.options import EncodeOptions, override
from drawing import index_of, lag_samples, tones, write_video, write_wav

MS = Fraction(1, 1000)
PHONE_TIMES = [0, 33, 66, 101, 133, 166, 233, 234, 300, 333, 367, 400, 466, 500, 533]
RATES = {
    "film": (Fraction(24000, 1001), None, None),
    "pal": (Fraction(25), None, None),
    "ntsc": (Fraction(30000, 1001), None, None),
    "fifty": (Fraction(50), None, None),
    "sixty": (Fraction(60000, 1001), None, None),
    "ntsc in 1/90000": (Fraction(30000, 1001), Fraction(1, 90_000), None),
    "phone": (Fraction(30), MS, PHONE_TIMES),
}


def copy(source: Path, out: Path, **options) -> list:
    """Read `source`, write it to `out`, and return the frames."""
    with (
        VideoReader(source) as reader,
        VideoWriter(out, reader.format, encode=override(EncodeOptions(), options), **options) as writer,
    ):
        frames = []
        for frame in reader:
            frames.append(frame)
            writer.write(frame)
    return frames


def read(path: Path) -> list:
    with VideoReader(path) as reader:
        return list(reader)


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_every_rate_keeps_count_times_and_order(tmp_path, name, suffix):
    rate, tick, times = RATES[name]
    frames = len(times) if times else 20
    source = write_video(tmp_path / "in.mp4", rate=rate, time_base=tick, frames=frames, times=times)
    before = copy(source, tmp_path / f"out{suffix}")
    after = read(tmp_path / f"out{suffix}")
    expected = [t * MS for t in times] if times else [i / rate for i in range(frames)]
    assert [frame.time_s for frame in before] == expected
    assert [frame.time_s for frame in after] == expected
    assert [frame.duration_s for frame in after] == [frame.duration_s for frame in before]
    assert [index_of(frame.rgb()) for frame in after] == list(range(frames))


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_containers_that_count_milliseconds_keep_times_to_half_of_one(tmp_path, suffix):
    rate = Fraction(30000, 1001)
    copy(write_video(tmp_path / "in.mp4", rate=rate, frames=20), tmp_path / f"out{suffix}")
    after = read(tmp_path / f"out{suffix}")
    assert len(after) == 20
    assert max(abs(frame.time_s - i / rate) for i, frame in enumerate(after)) <= MS / 2


def test_last_frame_keeps_its_own_duration(tmp_path):
    source = write_video(tmp_path / "in.mp4", frames=5, rate=25)
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader.format) as writer:
        for frame in reader:
            last = frame.with_time(frame.index, frame.time_s, Fraction(3, 25)) if frame.index == 4 else frame
            writer.write(last)
    assert [f.duration_s for f in read(tmp_path / "out.mp4")] == [Fraction(1, 25)] * 4 + [Fraction(3, 25)]


def test_stream_that_starts_late_starts_at_zero(tmp_path):
    times = [9000 + 3600 * i for i in range(10)]
    source = write_video(tmp_path / "in.mkv", frames=10, time_base=Fraction(1, 90_000), times=times)
    assert [frame.time_s for frame in read(source)] == [Fraction(i, 25) for i in range(10)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (48_000, 6), (22_050, 1)])
def test_separate_sound_comes_back_in_place(tmp_path, suffix, rate_hz, channels):
    video = write_video(tmp_path / "in.mp4", frames=50)
    wav = write_wav(tmp_path / "speech.wav", tones(2.0, rate_hz, channels), rate_hz)
    copy(video, tmp_path / f"out{suffix}", audio=wav)
    heard, meant = load_mono(tmp_path / f"out{suffix}"), load_mono(wav)
    assert lag_samples(meant, heard) == 0
    size = min(len(heard), len(meant))
    assert abs(len(heard) - len(meant)) < 1200  # a codec fills up its last block
    assert np.corrcoef(heard[:size], meant[:size])[0, 1] > 0.97
    facts = probe(tmp_path / f"out{suffix}")
    assert facts.channels == channels
    assert facts.sample_rate_hz == (48_000 if suffix == ".webm" else rate_hz)


def test_own_sound_is_kept(tmp_path):
    source = write_video(tmp_path / "in.mp4", frames=50, sound=tones(2.0, 48_000, 2))
    copy(source, tmp_path / "out.mp4", audio=source)
    assert lag_samples(load_mono(source), load_mono(tmp_path / "out.mp4")) == 0


def test_sound_is_cut_at_the_end_of_the_picture_and_not_stretched(tmp_path):
    video = write_video(tmp_path / "in.mp4", frames=25)
    for seconds, expected_s in ((3.0, 1.0), (0.5, 0.5)):
        wav = write_wav(tmp_path / "speech.wav", tones(seconds, 16_000))
        copy(video, tmp_path / "out.mp4", audio=wav, force=True)
        assert float(probe(tmp_path / "out.mp4").duration_s) == pytest.approx(expected_s, abs=0.07)


def test_ten_bits_stay_ten_bits(tmp_path):
    source = write_video(
        tmp_path / "in.mp4", frames=6, pix_fmt="yuv420p10le", codec="libx265", options={"x265-params": "log-level=none"}
    )
    before = copy(source, tmp_path / "out.mp4", crf=1)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_tag) == ("hevc", "hvc1")
    after = read(tmp_path / "out.mp4")
    assert after[0].pix_fmt == "yuv420p10le"
    assert np.abs(after[3].planes[0].astype(int) - before[3].planes[0]).mean() < 2


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p"])
def test_chroma_resolution_is_kept(tmp_path, pix_fmt):
    copy(write_video(tmp_path / "in.mp4", frames=4, pix_fmt=pix_fmt), tmp_path / "out.mp4")
    assert read(tmp_path / "out.mp4")[0].pix_fmt == pix_fmt


@pytest.mark.parametrize("full", [False, True])
def test_colour_tags_and_range_are_kept(tmp_path, full):
    def tag(stream):
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1
        context.color_range = 2 if full else 1

    source = write_video(tmp_path / "in.mp4", frames=4, set_up=tag, full_range=full)
    before = copy(source, tmp_path / "out.mp4", crf=1)
    with VideoReader(tmp_path / "out.mp4") as reader:
        found, after = reader.format, list(reader)
    assert (found.colorspace, found.color_primaries, found.color_trc) == (1, 1, 1)
    assert found.color_range == (2 if full else 1)
    assert np.abs(after[2].rgb().astype(int) - before[2].rgb()).mean() < 1


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_interlaced_pictures_stay_so(tmp_path, suffix, order, caplog):
    source = write_video(tmp_path / f"in{suffix}", frames=10, options={"x264-params": f"{order}=1"})
    before = copy(source, tmp_path / f"out{suffix}", crf=1)
    with VideoReader(tmp_path / f"out{suffix}") as reader:
        assert reader.format.field_order == order
        assert np.abs(next(reader).planes[0].astype(int) - before[0].planes[0]).mean() < 1
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert all(picture.interlaced_frame for picture in container.decode(video=0))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["the video is interlaced"]


def test_interlaced_pictures_are_said_where_the_encoder_has_none(tmp_path, caplog):
    source = write_video(tmp_path / "in.mp4", frames=4, options={"x264-params": "tff=1"})
    copy(source, tmp_path / "out.webm")
    assert ["libvpx-vp9 cannot say" in record.getMessage() for record in caplog.records] == [True]


def test_metadata_for_displays_is_left_out_aloud(tmp_path, caplog):
    display = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    source = write_video(
        tmp_path / "in.mp4",
        frames=4,
        codec="libx265",
        pix_fmt="yuv420p10le",
        options={"x265-params": f"log-level=none:hdr10=1:{display}"},
    )
    copy(source, tmp_path / "out.mp4")
    assert [record.getMessage() for record in caplog.records] == [
        "HDR10 metadata of the video is left out; its colour tags are kept"
    ]


def test_pixel_shape_is_kept(tmp_path):
    def wide(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)

    copy(write_video(tmp_path / "in.mp4", frames=4, set_up=wide), tmp_path / "out.mp4")
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert reader.format.sar == Fraction(16, 11)


@pytest.mark.parametrize("size", [(63, 47), (65, 48), (64, 49)])
def test_odd_sizes_are_padded_by_repeating_the_edge(tmp_path, size):
    source = write_video(tmp_path / "in.mkv", frames=4, size=size, codec="ffv1")
    before = copy(source, tmp_path / "out.mp4", crf=1)
    after = read(tmp_path / "out.mp4")
    assert (before[0].width, before[0].height) == size
    assert (after[0].width, after[0].height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    inside = after[1].rgb()[: size[1], : size[0]].astype(int)
    assert np.abs(inside - before[1].rgb()).mean() < 3


def test_metadata_is_written(tmp_path):
    source = write_video(tmp_path / "in.mp4", frames=3)
    copy(source, tmp_path / "out.mp4", metadata={"title": "Übung", "cals_model": "debug"})
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["title"] == "Übung"
        assert container.metadata["cals_model"] == "debug"


@pytest.mark.corpus
def test_real_clips_come_back(tmp_path):
    corpus = Path(__file__).parents[3] / "shared" / "corpus"
    if not corpus.exists():
        pytest.skip("../shared/corpus is absent")
    for source in [*sorted((corpus / "originals").glob("*.mpg")), next((corpus / "grid").glob("gA/*.mp4"))]:
        before = copy(source, tmp_path / "out.mp4", audio=source, force=True)
        after = read(tmp_path / "out.mp4")
        assert [f.time_s for f in after] == [f.time_s for f in before] == [Fraction(i, 25) for i in range(75)]
        assert lag_samples(load_mono(source), load_mono(tmp_path / "out.mp4")) == 0
