"""Pauses of the speech: mouths left or at rest there, and sound without any speech, which is said."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from cals import ConfigError, LipSync
from cals.data.noises import draw_melody
from cals.inference.load import LoadedModel
from cals.inference.stream import GENERATED, SILENCE
from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from cals.models.audio2head import Audio2Head, Audio2HeadConfig
from cals.types import U8
from drawing import write_wav

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO, SPEECH = EXAMPLES / "astronaut.jpg", EXAMPLES / "speech.wav"
RATE_HZ, SIZE_PX = 16_000, 256


@pytest.fixture(scope="module")
def spaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of speech between two times 1.2 s of silence."""
    speech, silence = load_mono(SPEECH)[4000:20_000], np.zeros(RATE_HZ * 6 // 5, np.float32)
    path = tmp_path_factory.mktemp("sound") / "spaced.wav"
    write_wav(path, np.concatenate([silence, speech, silence]), RATE_HZ)
    return path


def read_photo() -> U8:
    with VideoReader(PHOTO, size=SIZE_PX) as reader:
        return next(iter(reader)).rgb()


def test_pauses_keep_the_picture_and_are_reported(lips: LipSync, spaced: Path, tmp_path: Path) -> None:
    report = lips.generate(
        PHOTO, spaced, tmp_path / "out.mp4", silence="keep", size=SIZE_PX, report=tmp_path / "report.json"
    )
    frames = json.loads((tmp_path / "report.json").read_text())["per_frame"]
    strengths = [frame["strength"] for frame in frames]
    statuses = [frame["status"] for frame in frames]
    assert statuses[:15] == statuses[-15:] == [SILENCE] * 15
    assert statuses[32:50] == [GENERATED] * 18
    assert report.passed_through == {SILENCE: strengths.count(0.0)}
    assert strengths[32:50] == [1.0] * 18
    assert max(np.abs(np.diff(strengths))) < 0.35
    assert report.speech_s == pytest.approx(1.0, abs=0.2)


def test_frames_in_pauses_are_the_pictures_own(lips: LipSync, spaced: Path) -> None:
    photo = read_photo()
    for lip_frame in lips.frames(PHOTO, spaced, silence="keep", size=SIZE_PX):
        assert np.array_equal(lip_frame.frame.rgb(), photo) == (lip_frame.status == SILENCE)


@pytest.mark.parametrize(
    ("silence", "words"), [("rest", "the mouth rests"), ("keep", "stays as it is"), ("drive", "moves the mouth")]
)
def test_music_is_said_to_be_no_speech(
    silence: str, words: str, lips: LipSync, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_wav(tmp_path / "music.wav", 0.1 * draw_melody(np.random.default_rng(0), RATE_HZ, RATE_HZ), RATE_HZ)
    with caplog.at_level(logging.WARNING):
        report = lips.generate(PHOTO, tmp_path / "music.wav", tmp_path / "out.mp4", silence=silence, size=SIZE_PX)
    assert report.speech_s == 0
    assert report.frames == 25
    assert report.counts == {SILENCE if silence == "keep" else GENERATED: 25}
    messages = [record.getMessage() for record in caplog.records if "no speech was found" in record.getMessage()]
    assert len(messages) == 1
    assert "music.wav" in messages[0]
    assert words in messages[0]


def test_speech_is_not_warned_about(
    lips: LipSync, spaced: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        lips.generate(PHOTO, spaced, tmp_path / "out.mp4", size=SIZE_PX)
    assert "no speech" not in caplog.text


def test_an_unknown_way_says_so(lips: LipSync, spaced: Path) -> None:
    with pytest.raises(ConfigError, match="silence: expected one of rest, keep, drive, found 'mute'"):
        next(lips.frames(PHOTO, spaced, silence="mute"))


def test_a_head_drawn_whole_cannot_be_left(spaced: Path) -> None:
    lips = LipSync(LoadedModel("whole", "0" * 12, Audio2Head(Audio2HeadConfig()).eval()))
    with pytest.raises(ConfigError, match="expected rest or drive for whole"):
        next(lips.frames(PHOTO, spaced, silence="keep", size=SIZE_PX))
