"""Transparent video stays transparent where the output can be, and says so where it cannot."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cals.errors import ConfigError
from cals.media import VideoReader, VideoWriter, fit_length
from cals.media.frame import get_plane_views
from cals.media.pictures import build_converter
from cals.options import EncodeOptions
from cals.types import U8, Box, Patch

SOURCES = [
    ("a.webm", "libvpx-vp9", "yuva420p"),
    ("a.mov", "prores_ks", "yuva444p10le"),
    ("a.mov", "qtrle", "argb"),
    ("a.mkv", "ffv1", "yuva420p"),
]
FRAMES = 40
"""More than are kept whole for playing backwards."""


def write_clear(path: Path, codec: str, pix_fmt: str, alpha: int) -> Path:
    """Write a red video with `alpha` in its right half and a moving grey square."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"auto-alt-ref": "0"} if "vp9" in codec else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.gop_size = 8
        for index in range(FRAMES):
            rgba = np.full((48, 64, 4), (200, 0, 0, 255), np.uint8)
            rgba[:, 32:, 3] = alpha
            rgba[8:16, index : index + 8, :3] = 128
            picture = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=pix_fmt)
            picture.pts = index
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


def read_rgba(path: Path) -> list[U8]:
    with VideoReader(path) as reader:
        return [frame.picture.to_ndarray(format="rgba") for frame in reader]


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), SOURCES)
@pytest.mark.parametrize("out", ["out.webm", "out.mov"])
def test_it_is_kept(tmp_path: Path, name: str, codec: str, pix_fmt: str, out: str) -> None:
    source = write_clear(tmp_path / name, codec, pix_fmt, 60)
    blue = Patch(Box(40, 20, 48, 28), np.full((8, 8, 3), (0, 0, 255), np.uint8), np.ones((8, 8), np.float32))
    with VideoReader(source) as reader, VideoWriter(tmp_path / out, reader.format) as writer:
        for frame in reader:
            writer.write(frame.with_patch(blue))
    pictures = read_rgba(tmp_path / out)
    assert len(pictures) == FRAMES
    for picture in (pictures[0], pictures[-1]):
        assert abs(picture[:, :28, 3].astype(int) - 255).max() <= 2
        assert abs(picture[:, 36:, 3].astype(int) - 60).max() <= 4
        assert picture[24, 44, 2] > 200 > picture[24, 44, 0]  # the patch is there, as clear as what it covers


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), SOURCES)
@pytest.mark.parametrize(("alpha", "lines"), [(255, 0), (60, 1)])
def test_its_loss_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str, pix_fmt: str, alpha: int, lines: int
) -> None:
    source = write_clear(tmp_path / name, codec, pix_fmt, alpha)
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader.format) as writer:
        for frame in reader:
            writer.write(frame)
    assert len([record for record in caplog.records if "transparency" in record.getMessage()]) == lines
    assert read_rgba(tmp_path / "out.mp4")[0][24, 60, 3] == 255


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), SOURCES)
def test_it_plays_backwards(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    source = write_clear(tmp_path / name, codec, pix_fmt, 60)
    frames = [frame.picture for frame in fit_length(source, "bounce", Fraction(2 * FRAMES - 2, 25))]
    assert len(frames) == 2 * FRAMES - 2
    for ahead, back in ((1, -1), (20, -20)):
        assert np.array_equal(frames[ahead].to_ndarray(format="rgba"), frames[back].to_ndarray(format="rgba"))


def test_prores_needs_a_mov(tmp_path: Path) -> None:
    source = write_clear(tmp_path / "a.mov", "qtrle", "argb", 60)
    with VideoReader(source) as reader, pytest.raises(ConfigError, match="name the output .mov"):
        VideoWriter(tmp_path / "out.mp4", reader.format, encode=EncodeOptions(codec="prores"))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("pix_fmt", ["yuva444p12le", "yuv411p", "gbrp", "gray"])
@pytest.mark.parametrize(("matrix", "color_range"), [(8, 1), (14, 2), (66, 1), (1, 66)])
def test_colours_that_the_scaler_does_not_know(pix_fmt: str, matrix: int, color_range: int) -> None:
    """YCgCo, ICtCp, and numbers that mean nothing, as in damaged files."""
    picture = av.VideoFrame(64, 48, pix_fmt)
    for plane in picture.planes:
        plane.update(bytes(plane.buffer_size))
    picture.colorspace, picture.color_range = matrix, color_range
    converted = build_converter(picture)(picture)
    assert (converted.width, converted.height) == (64, 48)
    if "yuv" in pix_fmt:
        assert (int(converted.colorspace), int(converted.color_range)) == (matrix, color_range)
        assert not get_plane_views(converted)[0].any()
