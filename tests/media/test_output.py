"""An output appears whole or not at all, and never over anything it should not touch."""

import itertools
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cals.errors import ConfigError, MediaError
from cals.media import VideoReader, VideoWriter
from cals.options import EncodeOptions, override
from drawing import tones, write_video, write_wav


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "in").mkdir()
    return write_video(tmp_path / "in" / "clip.mp4", frames=12)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "result.mp4"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(clip, out, frames=None, **options):
    with (
        VideoReader(clip) as reader,
        VideoWriter(out, reader.format, encode=override(EncodeOptions(), options), **options) as writer,
    ):
        for frame in itertools.islice(reader, frames):
            writer.write(frame)


def test_existing_file_needs_force(clip, out):
    out.write_text("precious")
    with pytest.raises(MediaError, match="--force"):
        write(clip, out)
    assert out.read_text() == "precious"
    write(clip, out, force=True)
    assert out.stat().st_size > 500
    assert names_in(out.parent) == [out.name]


def test_a_file_that_appears_meanwhile_stays(clip, out):
    def late():
        with VideoReader(clip) as reader, VideoWriter(out, reader.format) as writer:
            writer.write(next(reader))
            out.write_text("precious")

    with pytest.raises(MediaError, match="wrote meanwhile.*--force"):
        late()
    assert out.read_text() == "precious"
    assert names_in(out.parent) == [out.name]


def test_two_writers_of_one_name_and_the_later_one_is_refused(clip, out):
    def late():
        with VideoReader(clip) as reader, VideoWriter(out, reader.format) as writer:
            writer.write(next(reader))
            write(clip, out, frames=3)

    with pytest.raises(MediaError, match="wrote meanwhile"):
        late()
    with VideoReader(out) as reader:
        assert len(list(reader)) == 3
    assert names_in(out.parent) == [out.name]


def test_a_link_is_written_through(clip, out, tmp_path):
    target = tmp_path / "in" / "real.mp4"
    out.symlink_to(target)
    with pytest.raises(MediaError, match="a link to nowhere; use --force"):
        write(clip, out)
    write(clip, out, force=True)
    assert out.is_symlink()
    assert target.stat().st_size > 500
    with pytest.raises(MediaError, match="existing one; use --force"):
        write(clip, out)
    assert names_in(tmp_path / "in") == ["clip.mp4", "real.mp4"]
    (out.parent / "loop.mp4").symlink_to("loop.mp4")
    (out.parent / "lost.mp4").symlink_to(tmp_path / "no folder" / "a.mp4")
    for name, problem in (("loop.mp4", "leads in a circle"), ("lost.mp4", "expected an existing folder")):
        with pytest.raises(MediaError, match=problem):
            write(clip, out.with_name(name), force=True)


def test_long_names(clip, out):
    write(clip, out.with_name("x" * 231 + ".mp4"))
    write(clip, out.with_name("ü" * 125 + ".mp4"))
    with pytest.raises(MediaError, match="usable file name, found: File name too long"):
        write(clip, out.with_name("x" * 252 + ".mp4"))
    assert len(names_in(out.parent)) == 2


@pytest.mark.parametrize(("name", "hint"), [("-.mp4", "found a directory"), ("https://host/a.mp4", "download it")])
def test_names_that_are_no_files(clip, tmp_path, monkeypatch, name, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-.mp4").mkdir()
    with pytest.raises(MediaError, match=hint):
        write(clip, Path(name))


@pytest.mark.parametrize("link", ["same", "symlink", "hardlink"])
def test_output_may_not_be_an_input(clip, tmp_path, link):
    target = tmp_path / "in" / "link.mp4"
    if link == "same":
        target = clip
    elif link == "symlink":
        target.symlink_to(clip)
    else:
        target.hardlink_to(clip)
    before = clip.read_bytes()
    with pytest.raises(MediaError, match="apart from the inputs"):
        write(clip, target, inputs=[clip], force=True)
    assert clip.read_bytes() == before


def test_output_may_not_be_the_sound(clip, tmp_path):
    video = write_video(tmp_path / "talk.mp4", frames=3, sound=tones(0.2, 48_000))
    with pytest.raises(MediaError, match="apart from the inputs"):
        write(clip, video, audio=video, force=True)


@pytest.mark.parametrize("name", ["result", "result.avi", "result.mp3", "result.gif"])
def test_unknown_suffix(clip, out, name):
    with pytest.raises(MediaError, match=r"\.mp4 \.m4v \.mov \.mkv \.webm"):
        write(clip, out.with_name(name))


def test_missing_folder_and_folder_as_file(clip, out):
    with pytest.raises(MediaError, match="create it first"):
        write(clip, out.parent / "nowhere" / "a.mp4")
    (out.parent / "dir.mp4").mkdir()
    with pytest.raises(MediaError, match="found a directory"):
        write(clip, out.parent / "dir.mp4")
    with pytest.raises(MediaError, match="expected"):
        write(clip, clip / "a.mp4")


def test_unwritable_folder(clip):
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc, a folder not even root can write to")
    with pytest.raises(MediaError, match="can be written to"):
        write(clip, Path("/proc/self/a.mp4"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit, MediaError])
@pytest.mark.parametrize("after", [0, 5])
def test_nothing_is_left_after_an_error_inside(clip, out, error, after):
    out.write_text("precious")

    def interrupted():
        with VideoReader(clip) as reader, VideoWriter(out, reader.format, force=True) as writer:
            for frame in itertools.islice(reader, after):
                writer.write(frame)
            raise error

    with pytest.raises(error):
        interrupted()
    assert names_in(out.parent) == [out.name]
    assert out.read_text() == "precious"


def test_while_writing_the_name_is_free_and_the_partial_file_hidden(clip, out):
    with VideoReader(clip) as reader, VideoWriter(out, reader.format) as writer:
        writer.write(next(reader))
        assert not out.exists()
        assert all(name.startswith(".") and name.endswith(".partial") for name in names_in(out.parent))
    assert names_in(out.parent) == [out.name]


def test_no_frames_is_an_error(clip, out):
    with pytest.raises(MediaError, match="found none"):
        write(clip, out, frames=0)
    assert names_in(out.parent) == []


def test_bad_sound_leaves_nothing(clip, out, tmp_path):
    wave = tones(1.0, 16_000)[0]
    wave[3000] = np.nan
    for bad in (write_wav(tmp_path / "nan.wav", wave), clip):
        with pytest.raises(MediaError):
            write(clip, out, audio=bad)
        assert names_in(out.parent) == []


def test_frames_of_another_size_are_refused(clip, out, tmp_path):
    big = write_video(tmp_path / "big.mp4", frames=2, size=(96, 64))
    with VideoReader(clip) as reader, VideoReader(big) as other:
        like, frame = reader.format, next(other)
    with pytest.raises(MediaError, match="64x48, found 96x64"), VideoWriter(out, like) as writer:
        writer.write(frame)
    assert names_in(out.parent) == []


def test_codec_choices(clip, out):
    import av

    for codec, name in (("auto", "h264"), ("h265", "hevc")):
        write(clip, out, codec=codec, force=True)
        with av.open(str(out)) as container:
            assert container.streams.video[0].codec_context.name == name
    write(clip, out.with_suffix(".webm"))
    with av.open(str(out.with_suffix(".webm"))) as container:
        assert "vp9" in container.streams.video[0].codec_context.name
    for options in ({"codec": "mystery"}, {"preset": "warp"}, {"crf": 9999}):
        with pytest.raises((MediaError, ConfigError)):
            write(clip, out.with_name("x.mp4"), **options)
    with pytest.raises(ConfigError, match="vp9"):
        write(clip, out.with_name("x.webm"), codec="h264")
    assert names_in(out.parent) == [out.name, out.with_suffix(".webm").name]


@pytest.mark.parametrize("byte", [0x55, 0xAA])
def test_one_and_two_pictures_by_h265(clip, out, byte):
    """x265 takes their decoding times from memory that it never set; glibc fills it with `byte` here."""
    copies = {frames: out.with_name(f"{frames}.mp4") for frames in (1, 2, 3)}
    code = (
        "import sys; from itertools import islice; from cals.media import VideoReader, VideoWriter\n"
        "from cals.options import EncodeOptions\n"
        "for frames, path in enumerate(sys.argv[2:], start=1):\n"
        "    with VideoReader(sys.argv[1]) as reader:\n"
        "        with VideoWriter(path, reader.format, encode=EncodeOptions(codec='h265')) as writer:\n"
        "            for frame in islice(reader, frames): writer.write(frame)"
    )
    environment = {**os.environ, "MALLOC_PERTURB_": str(byte)}
    subprocess.run([sys.executable, "-c", code, clip, *copies.values()], env=environment, check=True)
    for frames, path in copies.items():
        with VideoReader(path) as reader:
            assert [frame.time_s for frame in reader] == [Fraction(index, 25) for index in range(frames)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("kilobytes", [16, 200])
def test_full_disk(clip, tmp_path, suffix, kilobytes):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        rng = np.random.default_rng(0)
        noise = [rng.integers(0, 255, (144, 176, 3), dtype=np.uint8) for _ in range(20)]
        source = write_video(tmp_path / "noise.mp4", frames=noise, size=(176, 144), options={"crf": "30"})
        with pytest.raises(MediaError, match="disk full"):
            write(source, small / f"a{suffix}", crf=1)
        assert names_in(small) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_real_ctrl_c_leaves_nothing(clip, out):
    program = f"""
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in its background deaf to it
from cals.media import VideoReader, VideoWriter
with VideoReader({str(clip)!r}) as reader, VideoWriter({str(out)!r}, reader.format) as writer:
    for frame in reader:
        writer.write(frame)
        if frame.index == 4:
            os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert b"KeyboardInterrupt" in done.stderr
    assert names_in(out.parent) == []


def test_held_frames_are_written_at_their_own_times(clip, out):
    with VideoReader(clip) as reader, VideoWriter(out, reader.format) as writer:
        first = next(reader)
        for index in range(30):
            writer.write(first.with_time(index, Fraction(index, 25), Fraction(1, 25)))
    with VideoReader(out) as reader:
        assert [frame.time_s for frame in reader] == [Fraction(i, 25) for i in range(30)]


def test_importing_media_loads_no_torch():
    program = "import sys, cals.media; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
