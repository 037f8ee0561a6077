"""The GPU's encoder: what it is given, and that the processor encodes where it cannot; needs no GPU."""

import logging
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec import Codec

from cals.errors import ConfigError
from cals.media import VideoReader, VideoWriter, encoding
from cals.media.encoding import build_options, choose_encoder, list_encoders
from cals.media.frame import get_plane_views
from cals.media.reader import VideoFormat
from cals.options import EncodeOptions, prefer_gpu
from drawing import index_of, write_video

LIKE = VideoFormat(width=64, height=48, pix_fmt="yuv420p", time_base=Fraction(1, 25), rate=Fraction(25))
NVENC = ("h264_nvenc", "hevc_nvenc")
needs_nvenc = pytest.mark.skipif(
    not set(NVENC) <= av.codecs_available, reason="this PyAV was built without the encoders of NVIDIA"
)


@pytest.fixture
def gpu(monkeypatch) -> list[str]:
    """Let every encoder open; the list tells which were tried."""
    tried: list[str] = []
    monkeypatch.setattr(encoding, "_open_context", lambda encoder, *_: tried.append(encoder.codec))
    return tried


@pytest.fixture
def no_gpu(monkeypatch) -> None:
    def refuse(*_):
        raise av.error.PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(encoding, "_open_context", refuse)


def test_it_is_taken_by_bit_depth_where_it_opens(gpu):
    assert choose_encoder("nvenc", "mp4", LIKE).codec == "h264_nvenc"
    assert choose_encoder("nvenc", "mov", replace(LIKE, pix_fmt="yuv420p10le")).codec == "hevc_nvenc"
    assert choose_encoder("hevc_nvenc", "matroska", LIKE).codec == "hevc_nvenc"
    assert gpu == ["h264_nvenc", "hevc_nvenc", "hevc_nvenc"]


@pytest.mark.parametrize(
    ("container", "change", "codec"),
    [
        ("mp4", {"width": 63}, "libx264"),
        ("mp4", {"height": 47}, "libx264"),
        ("mp4", {"field_order": "tff"}, "libx264"),
        ("mp4", {"pix_fmt": "yuv422p"}, "libx264"),
        ("mp4", {"pix_fmt": "yuv422p10le"}, "libx265"),
        ("mkv", {"pix_fmt": "yuva420p"}, "libx264"),
        ("mov", {"pix_fmt": "yuva420p"}, "prores_ks"),
        ("webm", {}, "libvpx-vp9"),
    ],
)
def test_what_it_has_no_pictures_for_is_not_even_tried(gpu, container, change, codec):
    assert choose_encoder("nvenc", container, replace(LIKE, **change)).codec == codec
    assert not gpu


def test_without_a_gpu_the_processor_encodes_and_one_line_says_so(no_gpu, tmp_path, caplog):
    source = write_video(tmp_path / "in.mp4", frames=10, rate=Fraction(30000, 1001))
    caplog.set_level(logging.INFO)
    with (
        VideoReader(source) as reader,
        VideoWriter(tmp_path / "out.mp4", reader.format, encode=EncodeOptions(codec="nvenc")) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    with VideoReader(tmp_path / "out.mp4") as reader:
        after = list(reader)
    assert [index_of(frame.rgb()) for frame in after] == list(range(10))
    assert [frame.time_s for frame in after] == [i * Fraction(1001, 30000) for i in range(10)]
    lines = [record.getMessage() for record in caplog.records if "nvenc" in record.getMessage()]
    assert lines == ["libx264 encodes, not h264_nvenc: found that it cannot be opened (Operation not permitted)"]


def test_by_name_it_is_that_or_an_error(no_gpu):
    with pytest.raises(ConfigError, match=r"h264_nvenc.*cannot be opened.*codec nvenc or auto"):
        choose_encoder("h264_nvenc", "mp4", LIKE)
    with pytest.raises(ConfigError, match="odd size 63x48"):
        choose_encoder("hevc_nvenc", "mp4", replace(LIKE, width=63))
    with pytest.raises(ConfigError, match="expected vp9"):
        choose_encoder("h264_nvenc", "webm", LIKE)
    assert not any(list_encoders()[name] for name in NVENC)


def test_quality_is_constant_and_pictures_keep_their_order(gpu):
    encoder = choose_encoder("nvenc", "mp4", LIKE)
    assert build_options(encoder, None, None) == {"rc": "vbr", "cq": "17", "preset": "p4", "tune": "hq", "bf": "0"}
    assert build_options(encoder, 0, "p7")["cq"] == "1"  # 0 would let it choose
    with pytest.raises(ConfigError, match="p1, p2"):
        build_options(encoder, None, "veryfast")


@needs_nvenc
@pytest.mark.parametrize("codec", NVENC)
def test_it_has_the_pixel_formats_that_it_is_given(codec):
    assert set(encoding._NVENC_FORMATS.values()) <= {known.name for known in Codec(codec, "w").video_formats}


@needs_nvenc
def test_colours_times_and_shape_are_those_of_the_video(monkeypatch):
    contexts = []
    create = encoding.CodecContext.create

    class FakeCodecContext:
        @staticmethod
        def create(codec, mode):
            assert not contexts
            contexts.append(create(codec, mode))
            raise av.error.PermissionError(1, "Operation not permitted")

    like = replace(LIKE, pix_fmt="yuvj420p", sar=Fraction(4, 3), colorspace=1, color_primaries=1, color_trc=1)
    monkeypatch.setattr(encoding, "CodecContext", FakeCodecContext)
    choose_encoder("nvenc", "mp4", like)
    encoding._describe_pictures(contexts[0], encoding._ENCODERS["h264_nvenc"], like)
    context = contexts[0]
    assert (context.pix_fmt, context.color_range, context.colorspace, context.color_trc) == ("yuv420p", 2, 1, 1)
    assert (context.time_base, context.framerate) == (Fraction(1, 25), 25)
    assert context.sample_aspect_ratio == Fraction(4, 3)


def test_ten_bits_go_to_its_format_and_back_without_loss():
    picture = av.VideoFrame(64, 48, "yuv420p10le")
    rng = np.random.default_rng(0)
    for plane in get_plane_views(picture):
        plane[:] = rng.integers(0, 1024, plane.shape)
    again = picture.reformat(format="p010le").reformat(format="yuv420p10le")
    for before, after in zip(get_plane_views(picture), get_plane_views(again), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("device", "encode", "codec"),
    [
        ("cpu", EncodeOptions(), "auto"),
        ("mps", EncodeOptions(), "auto"),
        ("cuda", EncodeOptions(), "nvenc"),
        ("cuda:1", EncodeOptions(smart_render=False), "nvenc"),
        ("cuda", EncodeOptions(codec="h264"), "h264"),
        ("cuda", EncodeOptions(crf=20), "auto"),
        ("cuda", EncodeOptions(preset="veryfast"), "auto"),
    ],
)
def test_models_on_a_gpu_have_their_video_encoded_there(device, encode, codec):
    assert prefer_gpu(encode, device) == replace(encode, codec=codec)
