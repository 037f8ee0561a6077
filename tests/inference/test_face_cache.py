"""The cache changes time alone: the same pixels, and anything wrong with it is tracked again."""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cals import ConfigError, LipSync, MediaError
from cals.face.tracker import FaceTracker
from cals.inference import face_cache
from cals.inference.face_cache import FaceCache, FaceRecorder, FaceReplay
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.media.reader import VideoReader
from cals.media.writer import VideoWriter
from cals.types import Box, CropTransform, TrackedFace
from drawing import read_without_manifest, write_wav

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = {"video": "a"}
COUNT = 12
"""Frames of the clip."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first frames of a person."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoReader(EXAMPLES / "grid-s20.mp4") as reader, VideoWriter(path, reader.format) as writer:
        for frame in islice(reader, COUNT):
            writer.write(frame)
    return path


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the frames that are tracked."""
    indices: list[int] = []
    update = FaceTracker.update

    def count(self: FaceTracker, picture: Any, time_s: Fraction, index: int) -> TrackedFace:
        indices.append(index)
        return update(self, picture, time_s, index)

    monkeypatch.setattr(FaceTracker, "update", count)
    return indices


def write_speech(path: Path, seconds: float, seed: int) -> Path:
    noise = 0.2 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))
    write_wav(path, noise.astype(np.float32), 16_000)
    return path


def test_the_second_language_is_the_same_without_tracking(clip: Path, tmp_path: Path, updates: list[int]) -> None:
    first, second = (write_speech(tmp_path / f"{seed}.wav", 0.44 - 0.08 * seed, seed) for seed in (0, 1))
    plain = LipSync()
    cached = LipSync(plain.model, cache=tmp_path / "cache")
    cached.generate(clip, first, tmp_path / "first.mp4")
    assert len(updates) == COUNT  # the look-ahead
    updates.clear()
    cached.generate(clip, second, tmp_path / "cached.mp4")
    assert updates == []
    plain.generate(clip, second, tmp_path / "plain.mp4")
    assert len(updates) == COUNT
    assert read_without_manifest(tmp_path / "cached.mp4") == read_without_manifest(tmp_path / "plain.mp4")


def test_other_options_and_longer_speeches_are_tracked_anew(clip: Path, tmp_path: Path, updates: list[int]) -> None:
    speeches = [write_speech(tmp_path / f"{k}.wav", seconds, k) for k, seconds in enumerate((0.64, 0.56, 0.8))]
    lips, cache = LipSync("debug", cache=tmp_path / "cache"), tmp_path / "cache"
    expected = [(0, {}, 16), (1, {}, 0), (2, {}, 20), (0, {}, 0), (0, {"length": "video"}, 12), (0, {"person": 1}, 16)]
    for speech, options, count in expected:
        updates.clear()
        lips.generate(clip, speeches[speech], tmp_path / "out.mp4", force=True, **options)
        assert len(updates) == count
    assert len(list(cache.iterdir())) == 3
    lips.generate(EXAMPLES / "astronaut.jpg", write_speech(tmp_path / "s.wav", 0.1, 3), tmp_path / "photo.mp4")
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_file_is_made_again_with_a_warning(
    clip: Path, tmp_path: Path, updates: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    speech = write_speech(tmp_path / "speech.wav", 0.4, 0)
    lips = LipSync("debug", cache=tmp_path / "cache")
    lips.generate(clip, speech, tmp_path / "first.mp4")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    directory = int.from_bytes(whole[-6:-2], "little")  # of the archive's entries
    flips = [
        whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :] for at, bit in ((directory + 8, 1), (directory + 71, 8))
    ]
    for data in (bytes(damaged), whole[:1000], b"", *flips):
        file.write_bytes(data)
        updates.clear()
        caplog.clear()
        lips.generate(clip, speech, tmp_path / "again.mp4", force=True)
        assert updates
        assert f"{file}: damaged" in caplog.text
        assert file.stat().st_size == len(whole)
        assert read_without_manifest(tmp_path / "again.mp4") == read_without_manifest(tmp_path / "first.mp4")


def draw_frames(count: int) -> Iterator[Frame]:
    for k in range(count):
        yield Frame(from_rgb(np.zeros((16, 16, 3), np.uint8)), k, Fraction(k, 30), Fraction(1, 30))


def draw_face(frame: Frame) -> TrackedFace:
    """A face with other values in each frame, absent in every seventh."""
    valid = frame.index % 7 != 6
    points = np.random.default_rng(frame.index).normal(size=(468 if valid else 0, 3)).astype(np.float32)
    box = Box(-1, 2, 3, frame.index) if valid else None
    reason = "covered" if frame.index % 5 == 0 else None
    return TrackedFace(frame.index, frame.time_s, valid, 3, frame.index == 4, 0.1 * frame.index, box, points, reason)


def record(cache: FaceCache, count: int, key: dict[str, str] = KEY) -> None:
    recorder = cache.open(key, Fraction(count, 30), 128)
    assert isinstance(recorder, FaceRecorder)
    with closing(recorder):
        for frame in draw_frames(count):
            face = draw_face(frame)
            recorder.write(frame, face, CropTransform(np.full((2, 3), np.pi), 128) if face.valid else None)
        recorder.write_group("bank7", {"pixels": np.arange(9, dtype=np.uint8)})
        recorder.commit()


def test_faces_come_back_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_cache, "_CHUNK_FRAMES", 8)
    cache = FaceCache(tmp_path / "a" / "cache")
    record(cache, 21)
    recorder = cache.open(KEY, Fraction(22, 30), 128)
    assert isinstance(recorder, FaceRecorder)  # that one was too short
    recorder.close()
    replay = cache.open(KEY, Fraction(21, 30), 128)
    assert isinstance(replay, FaceReplay)
    with closing(replay):
        for frame in draw_frames(21):
            face, transform = replay.read(frame)
            expected = draw_face(frame)
            for field in dataclasses.fields(TrackedFace):
                np.testing.assert_equal(getattr(face, field.name), getattr(expected, field.name))
            assert (transform is not None) == face.valid
            assert transform is None or (transform.matrix == np.pi).all()
        (name, arrays), *_ = replay.read_groups()
        assert (name, arrays["pixels"].tolist()) == ("bank7", list(range(9)))
        with pytest.raises(MediaError, match="the file was removed"):
            replay.read(next(draw_frames(1)))
    assert list(cache.folder.iterdir()) == []


def test_an_unfinished_recording_leaves_nothing(tmp_path: Path) -> None:
    cache = FaceCache(tmp_path)
    recorder = cache.open(KEY, Fraction(1), 128)
    assert isinstance(recorder, FaceRecorder)
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_keeps_its_size(tmp_path: Path) -> None:
    record(FaceCache(tmp_path), 3)
    (first,) = tmp_path.iterdir()
    cache = FaceCache(tmp_path, limit_bytes=first.stat().st_size * 5 // 2)
    record(cache, 3, {"video": "b"})
    replay = cache.open(KEY, Fraction(0), 128)
    assert isinstance(replay, FaceReplay)
    replay.commit()  # used last
    replay.close()
    record(cache, 3, {"video": "c"})
    assert len(list(tmp_path.iterdir())) == 2
    assert first.exists()


def test_a_disk_that_fails_ends_the_recording_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    caplog.set_level(logging.WARNING)
    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", fail)
        record(FaceCache(tmp_path), 3)
    assert "faces are not kept, since writing fails: No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="expected a folder for the cache"):
        FaceCache(tmp_path / "file" / "cache")
