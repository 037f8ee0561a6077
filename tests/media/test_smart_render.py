"""Smart rendering copies what does not change, and what it encodes fits in between."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cals.media.avc import AvcConfig, is_idr, join_units, split_annex_b
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.media.smart_render import SmartRenderSource
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions
from cals.types import Box, Patch
from drawing import index_of, write_video

FRAMES, RATE = 60, 25
CHANGED = range(26, 33)
KEYINT = 10
KEPT = [index for index in range(FRAMES) if not 20 <= index < 40]
"""Frames of the groups, of ten each, without a changed one."""


def write_source(path: Path, parameters: str = "bframes=0", **more: object) -> Path:
    options = {"x264-params": f"keyint={KEYINT}:min-keyint={KEYINT}:scenecut=0:{parameters}", "crf": "23"}
    return write_video(path, frames=FRAMES, options=options, **more)  # type: ignore[arg-type]


def rewrite(source: Path, out: Path, **options: object) -> None:
    """Write a copy whose changed frames have a grey square."""
    changed_s = [(Fraction(CHANGED.start, RATE), Fraction(CHANGED.stop, RATE))]
    patch = Patch(box=Box(40, 4, 56, 20), rgb=np.full((16, 16, 3), 128, np.uint8), alpha=np.ones((16, 16), np.float32))
    with VideoReader(source) as reader:
        unchanged = SmartRenderSource(path=source, changed_s=changed_s)
        with VideoWriter(out, reader.format, unchanged=unchanged, encode=EncodeOptions(**options)) as writer:  # type: ignore[arg-type]
            for frame in reader:
                writer.write(frame.with_patch(patch) if frame.index in CHANGED else frame)


def read_frames(path: Path) -> list[Frame]:
    with VideoReader(path) as reader:
        return list(reader)


def read_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def count_equal(source: list[Frame], out: list[Frame]) -> list[int]:
    """Return the frames with the same samples."""
    pairs = zip(source, out, strict=True)
    return [a.index for a, b in pairs if all((p == q).all() for p, q in zip(a.planes, b.planes, strict=True))]


@pytest.mark.parametrize("parameters", ["bframes=0", "bframes=3:b-pyramid=2"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_groups_without_a_change_keep_their_bytes(tmp_path: Path, parameters: str, suffix: str) -> None:
    source, out = write_source(tmp_path / "source.mp4", parameters), tmp_path / f"out{suffix}"
    rewrite(source, out)
    before, after = read_frames(source), read_frames(out)
    assert [(frame.time_s, frame.duration_s) for frame in after] == [(f.time_s, f.duration_s) for f in before]
    assert set(KEPT) <= set(count_equal(before, after))
    assert len(set(read_packets(source)) & set(read_packets(out))) >= len(KEPT)
    assert [index_of(frame.rgb()) for frame in after] == list(range(FRAMES))
    for frame in after:
        grey = frame.rgb(Box(44, 8, 52, 16)).astype(float)
        assert (np.abs(grey - 128).max() < 12) == (frame.index in CHANGED)


def test_the_bytes_are_those_of_no_encoder_where_that_is_asked_for(tmp_path: Path) -> None:
    source, out = write_source(tmp_path / "source.mp4"), tmp_path / "out.mp4"
    rewrite(source, out, smart_render=False)
    assert not set(read_packets(source)) & set(read_packets(out))


def test_better_encoding_fits_into_a_simpler_track(tmp_path: Path) -> None:
    source, out = write_source(tmp_path / "source.mp4", "bframes=0:cabac=0:8x8dct=0"), tmp_path / "out.mp4"
    rewrite(source, out, preset="medium", crf=10)
    assert set(KEPT) <= set(count_equal(read_frames(source), read_frames(out)))


def test_frames_of_varying_length_keep_their_times(tmp_path: Path) -> None:
    times = [3 * index + (index % 3 == 1) for index in range(FRAMES)]
    source = write_source(tmp_path / "source.mp4", "bframes=2", times=times, time_base=Fraction(1, 75))
    out = tmp_path / "out.mp4"
    rewrite(source, out)
    assert [frame.time_s for frame in read_frames(out)] == [Fraction(time, 75) for time in times]
    assert set(KEPT) <= set(count_equal(read_frames(source), read_frames(out)))


@pytest.mark.parametrize(
    ("name", "parameters", "more"),
    [
        ("open.mp4", "bframes=2:open-gop=1", {}),
        ("other.mp4", "", {"codec": "mpeg4"}),
        ("stream.ts", "bframes=0", {}),
    ],
)
def test_what_cannot_be_copied_is_encoded(tmp_path: Path, name: str, parameters: str, more: dict[str, object]) -> None:
    source = (
        write_video(tmp_path / name, frames=FRAMES, **more)  # type: ignore[arg-type]
        if more
        else write_source(tmp_path / name, parameters)
    )
    out = tmp_path / "out.mp4"
    rewrite(source, out)
    assert [index_of(frame.rgb()) for frame in read_frames(out)] == list(range(FRAMES))
    assert len(set(read_packets(source)) & set(read_packets(out))) < len(KEPT)


def test_a_truncated_source_is_encoded_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write_source(tmp_path / "whole.mp4", container_options={"movflags": "faststart"})
    source, out = tmp_path / "source.mp4", tmp_path / "out.mp4"
    source.write_bytes(whole.read_bytes()[:-2000])
    with VideoReader(source, keep_going=True) as reader:
        unchanged = SmartRenderSource(path=source, changed_s=[(Fraction(0), Fraction(1, 5))])
        with VideoWriter(out, reader.format, unchanged=unchanged) as writer:
            count = [writer.write(frame) for frame in reader]
    indices = [index_of(frame.rgb()) for frame in read_frames(out)]
    assert 0 < len(count) < FRAMES
    assert indices == list(range(len(count)))


def test_a_record_of_parameter_sets_is_read_and_written(tmp_path: Path) -> None:
    with av.open(str(write_source(tmp_path / "source.mp4", "bframes=2:sps-id=3"))) as container:
        record = bytes(container.streams.video[0].codec_context.extradata or b"")
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    config = AvcConfig.parse(record)
    assert config is not None
    assert config.serialize() == record
    assert config.find_free_id() == 0
    both = AvcConfig.parse(config.add(config).serialize())
    assert both is not None
    assert both.sequence_sets == config.sequence_sets * 2
    assert [is_idr(packet) for packet in packets] == [index % KEYINT == 0 for index in range(FRAMES)]
    for size in range(len(record) - len(config.tail)):
        assert AvcConfig.parse(record[:size]) is None


def test_a_byte_stream_is_split_and_joined() -> None:
    units = [b"\x67\x42\x00\x1f", b"\x68\x01", b"\x65\x88\x00\x00\x03\x01", b"\x41\x9a"]
    stream = b"".join((b"\x00\x00\x00\x01", b"\x00\x00\x01")[index % 2] + unit for index, unit in enumerate(units))
    assert split_annex_b(stream) == units
    assert join_units(units) == b"\x00\x00\x00\x06" + units[2] + b"\x00\x00\x00\x02" + units[3]
