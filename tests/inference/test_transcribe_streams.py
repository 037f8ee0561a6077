"""`Transcriber` where sound, moving pictures or the face are not there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photo_clip import PHOTO, QUICK, draw_clip

from cals import Transcriber
from cals.errors import ConfigError, MediaError, NoFaceError
from cals.models.whisper import WhisperConfig
from drawing import tones, write_audio
from recognizer import save_recognizer

pytestmark = pytest.mark.slow


def test_nobody_in_the_picture(transcriber: Transcriber, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With sound it is read, and said; lips alone cannot be."""
    video = draw_clip(tmp_path / "nobody.mp4", frames=15, dark=range(15), sound_s=0.6)
    transcript = transcriber.transcribe(video, beam=QUICK)
    assert transcript.frames_without_face == transcript.frames == 15
    assert transcript.streams == "audio"
    assert any("found none in any frame" in line and "the sound alone" in line for line in caplog.messages)
    with pytest.raises(NoFaceError, match="found none in any frame"):
        transcriber.transcribe(video, beam=QUICK, streams="video")


def test_a_stretch_without_a_face_is_dark(
    transcriber: Transcriber, tmp_path: Path, encoder_calls: list[dict[str, Any]]
) -> None:
    transcript = transcriber.transcribe(draw_clip(tmp_path / "gap.mp4", dark=range(20, 32)), beam=QUICK)
    faceless = np.zeros(50, bool)
    faceless[20:32] = True
    assert transcript.frames_without_face == 12
    assert transcript.has_face is not None
    assert (transcript.has_face == ~faceless).all()
    [inputs] = encoder_calls
    assert (inputs["mouths"][0, 20:32] == 0.5).all()
    assert inputs["trusted"]["video"][0].tolist() == (~faceless).tolist()
    assert inputs["trusted"]["audio"].all()
    assert "12 of 50 frames without a face" in transcript.line()


def test_frames_that_are_not_there_do_not_matter(recognizer_folder: Path) -> None:
    """The features of a dark frame are zero, whatever its picture and those around it give."""
    network = Transcriber(recognizer_folder)._network
    torch.manual_seed(1)
    mouths, valid = torch.rand(2, 30, 20, 20), torch.ones(2, 30, dtype=torch.bool)
    some = torch.rand(2, 30) > 0.5
    streams: list[Any] = []
    network._score = lambda features, _valid: streams.append(features) or {}  # type: ignore[method-assign, func-returns-value]
    network.encode(None, mouths, valid, {"video": some})
    audio, video = streams[0]
    assert (audio == 0).all()
    assert (video[~some] == 0).all()
    assert (video[some].abs().amax(dim=1) > 0).all()
    network.encode(None, mouths, valid, {"video": torch.tensor([True, False])})
    assert (streams[1][1][1] == 0).all()
    assert (streams[1][1][0].abs().amax(dim=1) > 0).all()


def test_a_video_without_sound(
    transcriber: Transcriber, tmp_path: Path, encoder_calls: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    video = draw_clip(tmp_path / "mute.mp4", sound_s=None)
    transcript = transcriber.transcribe(video, beam=QUICK)
    assert transcript.streams == "video"
    assert transcript.peaks is None
    assert set(transcript.scores) == {"video"}
    assert encoder_calls[0]["wav"] is None
    assert caplog.messages == [f"{video}: no sound; reading the lips alone"]
    with pytest.raises(MediaError, match="expected sound to read, found none"):
        transcriber.transcribe(video, streams="audio")


def test_sound_alone(
    transcriber: Transcriber, tmp_path: Path, encoder_calls: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """And the last frame of it, where half of one or more is there."""
    sound = write_audio(tmp_path / "speech.wav", tones(1.52 + 0.03, 16_000), 16_000, "pcm_s16le")
    transcript = transcriber.transcribe(sound, beam=QUICK)
    assert (transcript.streams, transcript.frames, transcript.has_face) == ("audio", 39, None)
    assert encoder_calls[0]["mouths"] is None
    assert not encoder_calls[0]["wav"][0, -160:].any()
    assert caplog.messages == [f"{sound}: no moving pictures; reading the sound alone"]
    cut = write_audio(tmp_path / "cut.wav", tones(1.52 + 0.01, 16_000), 16_000, "pcm_s16le")
    assert transcriber.transcribe(cut, beam=QUICK).frames == 38
    with pytest.raises(MediaError, match="expected moving pictures to read, found none"):
        transcriber.transcribe(sound, streams="video")
    with pytest.raises(MediaError, match="expected sound or moving pictures to read, found none"):
        transcriber.transcribe(PHOTO)


def test_one_stream_of_a_video_that_has_both(
    transcriber: Transcriber, photo_clip: Path, encoder_calls: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    from_audio = transcriber.transcribe(photo_clip, streams="audio", beam=QUICK)
    from_video = transcriber.transcribe(photo_clip, streams="video", beam=QUICK)
    assert (from_audio.streams, from_video.streams) == ("audio", "video")
    assert [call["mouths"] is None for call in encoder_calls] == [True, False]
    assert [call["wav"] is None for call in encoder_calls] == [False, True]
    assert (from_audio.frames_without_face, from_video.frames_without_face) == (None, 0)
    assert not caplog.messages


def test_the_sound_of_another_file(
    transcriber: Transcriber, photo_clip: Path, tmp_path: Path, encoder_calls: list[dict[str, Any]]
) -> None:
    """Which goes on after the pictures."""
    other = write_audio(tmp_path / "other.wav", 0.1 * tones(3, 16_000), 16_000, "pcm_s16le")
    transcript = transcriber.transcribe(photo_clip, audio=other, beam=QUICK)
    assert (transcript.frames, transcript.frames_without_face, transcript.streams) == (75, 25, "both")
    assert float(encoder_calls[0]["wav"].abs().max()) < 0.06
    with pytest.raises(ConfigError, match="lips alone or the sound of another file"):
        transcriber.transcribe(photo_clip, audio=other, streams="video")


@pytest.mark.parametrize(("has", "lacks"), [("audio", "video"), ("video", "audio")])
def test_a_recogniser_of_one_stream(
    has: Any, lacks: Any, photo_clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    single = Transcriber(save_recognizer(tmp_path / "single", streams=has))
    transcript = single.transcribe(photo_clip, beam=QUICK)
    assert transcript.streams == has
    assert transcript.scores == {}
    assert transcript.frames == 50
    assert not caplog.messages
    assert single.transcribe(photo_clip, streams=has, beam=QUICK).text == transcript.text
    with pytest.raises(ConfigError, match=f"expected {has}, which is all .* trained on, found {lacks}"):
        single.transcribe(photo_clip, streams=lacks)
    with pytest.raises(ConfigError, match=f"found one of {has} alone; leave --scores out"):
        single.check_scores()
    if has == "video":
        with pytest.raises(ConfigError, match="lips alone or the sound of another file, found both"):
            single.transcribe(photo_clip, audio=photo_clip)


def test_a_recogniser_that_hears_with_whisper(photo_clip: Path, tmp_path: Path) -> None:
    """Whose weights are not in its checkpoint, but in the package."""
    folder = save_recognizer(tmp_path / "whisper", streams="audio", whisper=WhisperConfig())
    transcript = Transcriber(folder).transcribe(photo_clip, beam=QUICK)
    assert (transcript.streams, transcript.frames) == ("audio", 50)
