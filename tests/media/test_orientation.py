"""Frames come out upright, in a format that can be patched, whatever the file holds."""

import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from cals.errors import MediaError
from cals.media import VideoReader, VideoWriter
from cals.media.pictures import choose_working_format
from drawing import picture, write_video


def first_rgb(path):
    with VideoReader(path) as reader:
        return next(reader).rgb().astype(int)


def arrow(size=(64, 48)):
    """Draw a picture that looks different under every rotation and mirroring."""
    width, height = size
    image = np.full((height, width, 3), 60, np.uint8)
    image[: height // 3, : width // 4] = (220, 40, 40)
    image[-height // 4 :, -width // 3 :] = (40, 60, 220)
    image[: height // 4, -width // 4 :] = (40, 200, 60)
    return image


TURNS = {
    0: lambda image: image,
    90: lambda image: np.rot90(image, 1),
    180: lambda image: np.rot90(image, 2),
    -90: lambda image: np.rot90(image, -1),
}


@pytest.mark.parametrize("degrees", [90, 180, -90])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_turned_videos_come_out_upright_and_without_the_flag(tmp_path, degrees, pix_fmt):
    codec = "libx265" if pix_fmt.endswith("10le") else "libx264"
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {"crf": "4"}

    def turn(stream):
        stream.set_display_rotation(degrees)

    source = write_video(
        tmp_path / "in.mp4", frames=[arrow()] * 3, pix_fmt=pix_fmt, codec=codec, options=quiet, set_up=turn
    )
    with VideoReader(source) as reader, VideoWriter(tmp_path / "out.mp4", reader.format) as writer:
        size = (reader.width, reader.height)
        for frame in reader:
            assert (frame.width, frame.height) == size
            writer.write(frame)
    assert size == ((64, 48) if degrees == 180 else (48, 64))
    expected = TURNS[degrees](arrow()).astype(int)
    assert np.abs(first_rgb(source) - expected).mean() < 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0
    assert np.abs(first_rgb(tmp_path / "out.mp4") - expected).mean() < 7


@pytest.mark.parametrize(("hflip", "vflip"), [(True, False), (False, True)])
@pytest.mark.parametrize("degrees", [0, 90])
def test_mirrored_videos_come_out_as_a_player_shows_them(tmp_path, hflip, vflip, degrees):
    def turn(stream):
        stream.set_display_rotation(degrees, hflip=hflip, vflip=vflip)

    source = write_video(tmp_path / "in.mp4", frames=[arrow()] * 2, options={"crf": "4"}, set_up=turn)
    expected = TURNS[degrees](arrow())[:: -1 if vflip else 1, :: -1 if hflip else 1]
    assert np.abs(first_rgb(source) - expected).mean() < 6


def test_pixel_shape_turns_with_the_picture(tmp_path):
    def set_up(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(90)

    with VideoReader(write_video(tmp_path / "in.mp4", frames=2, set_up=set_up)) as reader:
        assert reader.format.sar == Fraction(3, 4)


def test_square_turned_pictures_turn_their_pixel_shape_too(tmp_path):
    def set_up(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(-90)

    with VideoReader(write_video(tmp_path / "in.mp4", frames=2, size=(48, 48), set_up=set_up)) as reader:
        assert reader.format.sar == Fraction(3, 4)


@pytest.mark.parametrize(
    ("pix_fmt", "working"),
    [
        ("nv12", "yuv420p"),
        ("rgb24", "yuv420p"),
        ("gbrp", "yuv420p"),
        ("gbrp10le", "yuv420p10le"),
        ("pal8", "yuv420p"),
        ("gray", "yuv420p"),
        ("gray10le", "yuv420p10le"),
        ("yuv420p12le", "yuv420p10le"),
        ("yuv444p12le", "yuv444p10le"),
        ("yuv411p", "yuv420p"),
        ("yuv410p", "yuv420p"),
        ("yuv440p", "yuv444p"),
        ("yuva420p", "yuv420p"),
        ("yuyv422", "yuv422p"),
        ("p010le", "yuv420p10le"),
        ("yuv422p10le", "yuv422p10le"),
        ("yuvj420p", "yuvj420p"),
        ("rgba", "yuv420p"),
    ],
)
def test_every_format_has_a_working_format(pix_fmt, working):
    assert choose_working_format(pix_fmt) == working


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("ffv1", "gray"),
        ("ffv1", "yuv411p"),
        ("ffv1", "gbrp10le"),
        ("ffv1", "yuva420p"),
        ("png", "rgb24"),
        ("qtrle", "rgb555be"),
    ],
)
def test_other_formats_look_the_same(tmp_path, codec, pix_fmt):
    source = write_video(
        tmp_path / ("in.mov" if codec != "ffv1" else "in.mkv"), frames=[arrow()] * 2, codec=codec, pix_fmt=pix_fmt
    )
    expected = arrow().astype(int)
    if pix_fmt == "gray":
        expected = np.repeat((expected @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
    assert np.abs(first_rgb(source) - expected).mean() < 6


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "color_range", "black", "white"),
    [
        ("ffv1", "gray", 1, 16, 235),
        ("ffv1", "gray10le", 1, 64, 940),
        ("libx265", "gray", 1, 16, 235),
        ("ffv1", "gray", 2, 0, 255),
    ],
)
def test_grey_keeps_its_range(tmp_path, codec, pix_fmt, color_range, black, white):
    options = {"x265-params": "lossless=1:bframes=0:log-level=none"} if codec == "libx265" else {}
    path = tmp_path / "grey.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.color_range = color_range
        shown = av.VideoFrame(64, 48, pix_fmt)
        shown.color_range, shown.pts = color_range, 0
        samples = np.frombuffer(memoryview(shown.planes[0]), np.uint8 if pix_fmt == "gray" else np.uint16)
        rows = samples.reshape(48, -1)
        rows[:], rows[:, 32:] = black, white
        out.mux(stream.encode(shown))
        out.mux(stream.encode(None))
    with VideoReader(path) as reader:
        frame = next(reader)
        assert reader.format.color_range == 1
    assert np.abs(frame.rgb()[:, :32].astype(int)).max() <= 1
    assert np.abs(frame.rgb()[:, 32:].astype(int) - 255).max() <= 2  # swscale rounds the chroma down


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("size", [(64, 48), (61, 43)])
def test_images_are_one_frame_videos(tmp_path, suffix, size):
    path = tmp_path / f"photo{suffix}"
    cv2.imwrite(str(path), arrow(size)[..., ::-1])
    with VideoReader(path) as reader:
        frames = list(reader)
        assert reader.format.is_image
        assert reader.has_audio is False
        assert (reader.width, reader.height) == size
    assert [(f.time_s, f.duration_s) for f in frames] == [(0, Fraction(1, 25))]
    assert np.abs(frames[0].rgb().astype(int) - arrow(size)).mean() < 8


def test_sixteen_bit_png_and_one_pixel(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), arrow()[..., ::-1].astype(np.uint16) * 257)
    assert np.abs(first_rgb(tmp_path / "deep.png") - arrow()).mean() < 8
    cv2.imwrite(str(tmp_path / "dot.png"), np.full((1, 1, 3), 128, np.uint8))
    assert np.abs(first_rgb(tmp_path / "dot.png") - 128).max() <= 1
    with VideoReader(tmp_path / "dot.png") as reader, VideoWriter(tmp_path / "dot.mp4", reader.format) as writer:
        writer.write(next(reader))
    assert first_rgb(tmp_path / "dot.mp4").shape == (2, 2, 3)


def test_alpha_lies_over_white(tmp_path):
    image = np.zeros((16, 16, 4), np.uint8)
    image[:8, :, 3] = 255
    image[8:, :, 3] = 51
    cv2.imwrite(str(tmp_path / "clear.png"), image)
    rgb = first_rgb(tmp_path / "clear.png")
    assert np.abs(rgb[:7]).max() <= 2
    assert np.abs(rgb[9:] - 204).max() <= 2


def exif(orientation):
    """Build an EXIF block with only an orientation tag."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def exif_jpeg(path, image, orientation):
    """Build a JPEG with an EXIF orientation tag by hand."""
    data = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    body = b"Exif\0\0" + exif(orientation)
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, -1), (8, 1)])
def test_exif_orientation_is_obeyed(tmp_path, orientation, turn):
    exif_jpeg(tmp_path / "phone.jpg", arrow(), orientation)
    assert np.abs(first_rgb(tmp_path / "phone.jpg") - np.rot90(arrow(), turn)).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_side_data_without_a_name_leaves_the_display_matrix_readable(tmp_path, orientation):
    # FFmpeg attaches the EXIF block of an animated PNG to its pictures as a kind that PyAV does not know.
    path = write_video(tmp_path / "a.apng", frames=[arrow()] * 3, codec="apng", pix_fmt="rgb24")
    data, block = path.read_bytes(), b"eXIf" + exif(orientation)
    at = data.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(block) - 4) + block + struct.pack(">I", zlib.crc32(block))
    path.write_bytes(data[:at] + chunk + data[at:])
    turns = [lambda a: a, np.fliplr, lambda a: np.rot90(a, 2), np.flipud]
    turns += [lambda a: a.swapaxes(0, 1), lambda a: np.rot90(a, -1), lambda a: np.rot90(a.swapaxes(0, 1), 2)]
    turns += [np.rot90]
    assert np.abs(first_rgb(path) - turns[orientation - 1](arrow())).mean() < 6


@pytest.mark.parametrize("behind", [b"\xff\xda" * 9, b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40])
def test_a_film_behind_a_photo_is_passed_over(tmp_path, behind):
    path = tmp_path / "motion.jpg"
    exif_jpeg(path, arrow(), 6)
    photo = path.read_bytes()
    path.write_bytes(photo + behind)
    assert np.abs(first_rgb(path) - np.rot90(arrow(), -1)).mean() < 8
    path.write_bytes(photo[: len(photo) * 2 // 3] + behind.replace(b"\xff\xd9", b""))
    with pytest.raises(MediaError, match="cut short"):
        first_rgb(path)


def test_a_png_named_mp4_is_still_an_image(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), picture(1)[..., ::-1])
    (tmp_path / "x.png").rename(tmp_path / "x.mp4")
    with VideoReader(tmp_path / "x.mp4") as reader:
        assert reader.format.is_image
