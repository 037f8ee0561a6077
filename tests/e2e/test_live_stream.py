"""A stream's frames are those of `frames`, they come in time, and whatever ends it closes everything."""

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from cals import CheckpointError, ConfigError, LipSync, NoFaceError
from cals.inference.live import Chunk
from cals.media.audio import load_mono
from cals.media.rewind import Rewinder

ROOT = Path(__file__).parents[2]
FACE = ROOT / "examples" / "grid-s20.mp4"
PHOTO = ROOT / "examples" / "astronaut.jpg"
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def speech() -> Chunk:
    """3.3 s of int16; the filmed face has 3.0 s."""
    wav = load_mono(ROOT / "examples" / "speech.wav", RATE_HZ)[: RATE_HZ * 33 // 10]
    return (wav * 32767).astype(np.int16)


class Microphone:
    """Chunks of 10 ms, and what became of them."""

    def __init__(self, speech: Chunk, fault: int | None = None) -> None:
        self.samples, self.is_closed = 0, False
        self.chunks = self._iterate(speech, fault)

    def _iterate(self, speech: Chunk, fault: int | None) -> Iterator[Chunk]:
        try:
            for start in range(0, len(speech), 160):
                if fault is not None and start >= fault:
                    raise OSError("unplugged")
                self.samples += len(speech[start : start + 160])
                yield speech[start : start + 160]
        finally:
            self.is_closed = True


def test_frames_are_those_of_the_file_and_come_in_time(lips: LipSync, speech: Chunk, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(speech.tobytes())
    expected = lips.frames(FACE, tmp_path / "speech.wav")
    microphone, count = Microphone(speech), 0
    for live, offline in zip(lips.stream(FACE, microphone.chunks, RATE_HZ), expected, strict=True):
        count += 1
        assert (live.frame.time_s, live.status, live.strength) == (offline.frame.time_s, "generated", 1.0)
        assert np.abs(live.frame.rgb().astype(int) - offline.frame.rgb()).max() <= 4  # a level of luma and of chroma
        assert Fraction(microphone.samples, RATE_HZ) - live.frame.time_s <= Fraction(1, 2)
    assert count == 83
    assert microphone.is_closed


def test_a_photo_speaks_with_the_model_that_ships(speech: Chunk) -> None:
    try:
        lips = LipSync()
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")
    silence = np.zeros(RATE_HZ // 2, np.int16)
    frames = [one.frame.rgb() for one in lips.stream(PHOTO, [silence, speech[: RATE_HZ // 2]], RATE_HZ)]
    assert len(frames) == 25
    change = [np.abs(frame.astype(int) - frames[0]).mean() for frame in frames]
    assert max(change[:5]) < 0.2 * max(change)


def test_who_says_nothing_gets_no_frames(lips: LipSync) -> None:
    assert list(lips.stream(PHOTO, [], RATE_HZ)) == []


def test_a_fault_of_the_microphone_closes_all(lips: LipSync, speech: Chunk, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Rewinder] = []
    close = Rewinder.close
    monkeypatch.setattr(Rewinder, "close", lambda self: (closed.append(self), close(self))[1])
    microphone = Microphone(speech, fault=RATE_HZ)
    stream = lips.stream(FACE, microphone.chunks, RATE_HZ)
    with pytest.raises(OSError, match="unplugged") as fault:  # it holds the frames of all stages
        list(stream)
    assert fault.traceback
    assert microphone.samples == RATE_HZ
    assert microphone.is_closed
    assert len(closed) == 1
    assert list(stream) == []


def test_a_listener_who_leaves_closes_all(lips: LipSync, speech: Chunk) -> None:
    microphone = Microphone(speech)
    stream = lips.stream(FACE, microphone.chunks, RATE_HZ)
    next(stream)
    assert not microphone.is_closed
    stream.close()
    assert microphone.is_closed
    assert microphone.samples <= RATE_HZ // 2


def test_what_cannot_be_streamed_says_so(lips: LipSync, speech: Chunk, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use `frames`"):
        lips.stream(FACE, [speech], RATE_HZ, length="video")
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    microphone = Microphone(speech)
    with pytest.raises(NoFaceError, match="found none"):
        next(lips.stream(tmp_path / "wall.png", microphone.chunks, RATE_HZ))
    assert microphone.is_closed
