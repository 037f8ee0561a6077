"""Further sound tracks, subtitles and chapters of a video come along, in place, where the output can hold them."""

from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest

from cals.media import VideoReader, VideoWriter, load_mono
from drawing import click_track, encode_sound, picture

MS = Fraction(1, 1000)
CLICK_S = 1.25
WORDS = ((200, 700, "First"), (1500, 400, "Second"))
CHAPTERS = (("One", 0, 1000), ("Two", 1000, 2000))

HEADER = (
    b"[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, Alignment\nStyle: Default,Arial,16,&Hffffff,2\n\n"
    b"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)


def write_film(path, start_ms=0, second_codec="aac", text_codec="srt"):
    """Write two seconds from `start_ms` on: video, quiet sound, clicks (fra), subtitles (eng) and chapters."""
    with av.open(str(path), "w", format={".mkv": "matroska", ".mp4": "mp4"}[path.suffix]) as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = MS
        sounds = [out.add_stream(codec, rate=48_000, layout="mono") for codec in ("aac", second_codec)]
        sounds[1].metadata["language"] = "fra"
        text = out.add_stream(text_codec)
        text.codec_context.time_base, text.codec_context.subtitle_header = MS, HEADER
        text.metadata.update({"language": "eng", "title": "Signs"})
        for index in range(50):
            shown = av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format="yuv420p")
            shown.pts, shown.time_base = start_ms + 40 * index, MS
            out.mux(video.encode(shown))
        out.mux(video.encode(None))
        for stream, clicks in zip(sounds, ([], [CLICK_S + start_ms / 1000]), strict=True):
            encode_sound(out, stream, click_track(2.0 + start_ms / 1000, 48_000, clicks), 48_000)
        for start, length, words in WORDS:
            line = av.subtitles.subtitle.SubtitleSet.create(f"0,0,Default,,0,0,0,,{words}".encode(), 0, length)
            packet = text.codec_context.encode_subtitle(line)
            packet.stream, packet.time_base, packet.duration = text, MS, length
            packet.pts = packet.dts = start + start_ms
            out.mux(packet)
        chapters = [(title, start_ms + start, start_ms + end) for title, start, end in CHAPTERS]
        out.set_chapters(
            [
                {"id": number, "start": start, "end": end, "time_base": MS, "metadata": {"title": title}}
                for number, (title, start, end) in enumerate(chapters, 1)
            ]
        )
    return path


def copy(source, out, frames=None, **options):
    with VideoReader(source) as reader, VideoWriter(out, reader.format, tracks_of=source, **options) as writer:
        for frame in islice(reader, frames):
            writer.write(frame)


def read_words(path):
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        found = []
        for packet in container.demux(stream):
            for line in packet.decode() if packet.size else ():
                found.append((packet.pts * packet.time_base, line.ass.decode().rsplit(",", 1)[1].strip()))
        return stream.language, found


def read_chapters(path):
    with av.open(str(path)) as container:
        return [
            (one["metadata"]["title"], one["start"] * one["time_base"], one["end"] * one["time_base"])
            for one in container.chapters()
        ]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(("name", "text_codec"), [("in.mkv", "srt"), ("in.mkv", "ass"), ("in.mp4", "mov_text")])
@pytest.mark.parametrize("start_ms", [0, 1000])
def test_all_comes_along_at_its_time(tmp_path, suffix, name, text_codec, start_ms, caplog):
    source = write_film(tmp_path / name, start_ms, "libopus" if suffix == ".webm" else "aac", text_codec)
    out = tmp_path / f"out{suffix}"
    copy(source, out, audio=source, audio_track=1)
    with av.open(str(out)) as container:
        assert [stream.language for stream in container.streams.audio][1:] == ["fra"]
    clicks = load_mono(out, 48_000, track="fra")
    assert abs(int(np.argmax(np.abs(clicks))) - CLICK_S * 48_000) <= 48
    assert read_words(out) == ("eng", [(Fraction(start, 1000), words) for start, _, words in WORDS])
    assert read_chapters(out) == [(title, start * MS, end * MS) for title, start, end in CHAPTERS]
    assert not caplog.records


def test_the_track_that_drives_stays_behind(tmp_path):
    source = write_film(tmp_path / "in.mkv")
    copy(source, tmp_path / "out.mkv", audio=source, audio_track="fra")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.language for stream in container.streams.audio] == [None, None]


def test_a_shorter_output_ends_them_all(tmp_path):
    source = write_film(tmp_path / "in.mkv")
    copy(source, tmp_path / "out.mp4", frames=30, audio=source)
    assert [words for _, words in read_words(tmp_path / "out.mp4")[1]] == ["First"]
    assert read_chapters(tmp_path / "out.mp4") == [("One", 0, 1), ("Two", 1, Fraction(6, 5))]
    assert len(load_mono(tmp_path / "out.mp4", track="fra")) / 16_000 == pytest.approx(1.2, abs=0.05)


def test_what_has_no_place_is_named(tmp_path, caplog):
    source = write_film(tmp_path / "in.mkv")
    copy(source, tmp_path / "out.webm")
    assert [record.getMessage() for record in caplog.records] == [
        f"{source}: left out, as webm cannot hold it: sound (aac, fra)"
    ]
    assert len(read_words(tmp_path / "out.webm")[1]) == 2


def test_a_video_with_nothing_more_stays_as_it_is(tmp_path, caplog):
    source = write_film(tmp_path / "in.mkv")
    copy(source, tmp_path / "bare.mp4", audio=source, audio_track=1)
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader.format, audio=source) as writer:
        for frame in reader:
            writer.write(frame)
    copy(tmp_path / "out.mp4", tmp_path / "again.mp4", audio=tmp_path / "out.mp4")
    with av.open(str(tmp_path / "again.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
