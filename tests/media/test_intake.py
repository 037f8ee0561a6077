"""Files of strangers: only containers that hold all their media pass, and their packets are counted."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cals.errors import MediaError
from cals.media.intake import IntakeLimits, check_media

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMITS = IntakeLimits(seconds=10, pixels=1_000_000)


def find_refusal(path: Path) -> MediaError | None:
    try:
        check_media(path, LIMITS)
    except MediaError as error:
        return error
    return None


@pytest.mark.parametrize("name", ["astronaut.jpg", "grid-s20.mp4", "speech.wav"])
def test_media_pass_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    plain = tmp_path / "face"
    plain.write_bytes((EXAMPLES / name).read_bytes())
    assert find_refusal(EXAMPLES / name) is find_refusal(plain) is None
    plain.write_bytes(b"text")
    assert "another kind" in str(find_refusal(plain))


@pytest.mark.parametrize("name", ["astronaut.jpg", "grid-s20.mp4"])
def test_large_pictures_are_refused(name: str) -> None:
    with pytest.raises(MediaError, match="at most 0.01 million pixels"):
        check_media(EXAMPLES / name, IntakeLimits(seconds=10, pixels=10_000))


def write_sound(path: Path, seconds: int) -> None:
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for second in range(seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 8000 * second, Fraction(1, 8000)
            container.mux(stream.encode(frame))


def test_a_header_that_lies_does_not_help(tmp_path: Path) -> None:
    path = tmp_path / "long"
    write_sound(path, 5)
    before, mark, after = path.read_bytes().partition(b"\x44\x89\x88")  # Matroska's Duration, in ms
    assert struct.unpack(">d", after[:8])[0] == 5000
    path.write_bytes(before + mark + struct.pack(">d", 100.0) + after[8:])
    with av.open(str(path)) as container:
        assert container.duration == 100_000  # microseconds
    check_media(path, LIMITS)
    with pytest.raises(MediaError, match="expected at most 4 s, found more"):
        check_media(path, IntakeLimits(seconds=4, pixels=1))


def test_nothing_else_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A playlist of a file that is there, which opens where playlists are allowed."""
    monkeypatch.chdir(tmp_path)
    write_sound(tmp_path / "secret.mkv", 1)
    (tmp_path / "list").write_text("ffconcat version 1.0\nfile secret.mkv\n")
    with av.open("list") as container:
        assert container.streams.audio
    with pytest.raises(MediaError, match="found another kind"):
        check_media(tmp_path / "list", LIMITS)
    (tmp_path / "a%d.jpg").write_bytes((EXAMPLES / "astronaut.jpg").read_bytes())
    with pytest.raises(MediaError, match="a name that stands for a series of pictures"):
        check_media(tmp_path / "a%d.jpg", LIMITS)
