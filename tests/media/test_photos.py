"""Still images are photos of 25 frames a second, upright and no larger than needed, whatever the format."""

import io
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from cals.errors import ConfigError, MediaError
from cals.media import VideoReader, fit_length
from cals.media.photos import is_image, read_photo
from drawing import picture, write_video

SIZE = (64, 48)


def arrow():
    """Draw a picture that looks different under every rotation and mirroring."""
    image = np.full((48, 64, 3), 60, np.uint8)
    image[:16, :16] = (220, 40, 40)
    image[-12:, -21:] = (40, 60, 220)
    image[:12, -16:] = (40, 200, 60)
    return image


AS_SEEN = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    8: lambda image: np.rot90(image, 1),
}
"""By EXIF orientation."""


def one_frame(path):
    """Read the only frame of an image and check that there is just one."""
    with VideoReader(path) as reader:
        assert reader.format.is_image
        assert (reader.format.rate, reader.has_audio) == (25, False)
        (frame,) = reader
    assert (frame.time_s, frame.duration_s) == (0, Fraction(1, 25))
    return frame.rgb().astype(int)


def test_still_formats_that_can_move_are_photos(tmp_path):
    image = Image.fromarray(arrow())
    image.save(tmp_path / "a.gif")
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.gif")
    image.save(tmp_path / "one.png", save_all=True, default_image=False, append_images=[])
    image.save(tmp_path / "a.avif", quality=95)
    image.save(tmp_path / "a.jp2")
    for name in ("a.gif", "palette.gif", "one.png", "a.avif", "a.jp2"):
        assert np.abs(one_frame(tmp_path / name) - arrow()).mean() < 8, name


def test_clear_parts_of_a_gif_lie_over_white(tmp_path):
    image = np.zeros((16, 16, 4), np.uint8)
    image[:8, :, 3] = 255
    Image.fromarray(image).save(tmp_path / "clear.gif")
    rgb = one_frame(tmp_path / "clear.gif")
    assert rgb[:7].max() <= 2
    assert rgb[9:].min() >= 253


@pytest.mark.parametrize(("suffix", "rate"), [("gif", 10), ("png", 10), ("avif", 10)])
def test_moving_ones_stay_videos(tmp_path, suffix, rate):
    images = [Image.fromarray(picture(index)) for index in range(5)]
    path = tmp_path / f"moves.{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=1000 // rate)
    assert not is_image(path)
    with VideoReader(path) as reader:
        assert reader.format.rate == rate
        times = [frame.time_s for frame in reader]
    assert times[:3] == [Fraction(index, rate) for index in range(3)]


@pytest.mark.parametrize("orientation", AS_SEEN)
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "avif", "tif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_orientation_is_obeyed_with_and_without_alpha(tmp_path, orientation, suffix, mode):
    if (suffix, mode) == ("jpg", "RGBA"):
        pytest.skip("JPEG has no alpha")
    image = Image.fromarray(arrow()).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    tags = {"tiffinfo": {0x0112: orientation}} if suffix == "tif" else {"exif": exif}
    image.save(tmp_path / f"a.{suffix}", quality=95, **tags)
    seen = AS_SEEN[orientation](np.asarray(image.convert("RGB")).astype(int))
    rgb = read_photo(tmp_path / f"a.{suffix}").rgb.astype(int)
    assert rgb.shape == seen.shape
    assert np.abs(rgb - seen).mean() < 5


def test_heic_is_read_or_refused_with_the_way_out(tmp_path, monkeypatch):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100))
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(MediaError, match="found HEIC; export it as JPEG, or run `pip install pillow-heif`"):
        one_frame(path)
    monkeypatch.undo()
    heif = pytest.importorskip("pillow_heif")
    with pytest.raises(MediaError, match="expected a whole HEIC image.*export it as JPEG"):
        one_frame(path)
    for mode in ("RGB", "RGBA"):
        buffer = io.BytesIO()
        heif.from_pillow(Image.fromarray(arrow()).convert(mode)).save(buffer, quality=95)
        path.write_bytes(buffer.getvalue())
        assert np.abs(one_frame(path) - arrow()).mean() < 8


def test_a_jpeg_may_have_a_video_behind_it(tmp_path):
    whole = cv2.imencode(".jpg", arrow()[..., ::-1])[1].tobytes()
    video = write_video(tmp_path / "a.mp4", frames=5).read_bytes()
    (tmp_path / "motion.jpg").write_bytes(whole + video + b"\xff\xda")
    assert np.abs(one_frame(tmp_path / "motion.jpg") - arrow()).mean() < 8
    (tmp_path / "cut.jpg").write_bytes(whole[:-200] + video)
    with pytest.raises(MediaError, match="cut short"):
        one_frame(tmp_path / "cut.jpg")


def test_libraries_are_silent_and_damage_is_said_once(tmp_path, capfd, caplog):
    data = bytearray(cv2.imencode(".jpg", picture(3, (256, 256))[..., ::-1])[1].tobytes())
    middle = len(data) // 2
    data[middle : middle + 30] = b"\xff\xd3" * 15  # restart markers where none belong
    (tmp_path / "bad.jpg").write_bytes(data)
    frames = fit_length(tmp_path / "bad.jpg", "audio", Fraction(1))
    assert len(list(frames)) == 25
    assert "Corrupt JPEG" not in capfd.readouterr().err
    assert [record.getMessage() for record in caplog.records if "the image is damaged (Corrupt JPEG" in record.message]
    assert len(caplog.records) == 1


def test_large_photos_are_reduced_unless_asked_otherwise(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / "wide.png"), picture(1, (5000, 100))[..., ::-1])
    with VideoReader(tmp_path / "wide.png") as reader:
        assert (reader.width, reader.height) == (4096, 82)
        assert not caplog.records  # said when the picture is used
        next(reader)
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "5000x100 px become 4096x82: --size 5000 would keep them"
    ]
    caplog.clear()
    for size, shape in ((5000, (100, 5000)), (9000, (100, 5000)), (100, (2, 100))):
        assert read_photo(tmp_path / "wide.png", size=size).rgb.shape == (*shape, 3)
    for size in (0, -5, 20_000):
        with pytest.raises(ConfigError, match="size: expected 16 to 16384 px"):
            read_photo(tmp_path / "wide.png", size=size)
    # The mean of what is seen stays.
    small = read_photo(tmp_path / "wide.png").rgb.mean((0, 1))
    assert np.abs(small - picture(1, (5000, 100)).mean((0, 1))).max() < 1
