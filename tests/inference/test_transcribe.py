"""`Transcriber`: a network that has learnt nothing, on videos of a photo beside tones, and on long speech."""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photo_clip import QUICK, draw_clip

from cals import Transcriber, hub
from cals.data.manifest import ClipSource
from cals.data.segments import _resample_frames
from cals.data.utterances import center_crop, extract_grey_mouths
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.inference import transcribe as module
from cals.inference.transcribe import build_words
from cals.inference.utterance import AVFrame, StreamFiles, choose_streams, read_frames
from cals.models.avsr.beam import BeamConfig, Hypothesis
from cals.models.avsr.network import AVSR, Encoding
from cals.models.avsr.recognize import Recognition
from cals.models.avsr.tokens import Tokens
from cals.types import F32
from drawing import tones, write_audio

pytestmark = pytest.mark.slow

NTSC = Fraction(30000, 1001)


def test_a_clip_from_end_to_end(
    transcriber: Transcriber, photo_clip: Path, encoder_calls: list[dict[str, Any]]
) -> None:
    steps: list[tuple[int, int | None]] = []
    transcript = transcriber.transcribe(
        photo_clip, beam=QUICK, progress=lambda done, total: steps.append((done, total))
    )
    assert (transcript.streams, transcript.fps, transcript.frames, transcript.frames_without_face) == (
        "both",
        25,
        50,
        0,
    )
    assert [(segment.start_s, segment.end_s) for segment in transcript.segments] == [(0, 2)]
    assert all(0 <= word.start_s < word.end_s <= 2 and 0 < word.confidence <= 1 for word in transcript.words)
    assert steps[-1] == (50, 50)
    assert set(transcript.scores) == {"audio", "video"}
    for scores in transcript.scores.values():
        assert scores.mean.shape == (50,)
        assert (scores.low < scores.mean).all()
        assert (scores.mean < scores.high).all()
    [inputs] = encoder_calls
    assert inputs["wav"].shape == (1, 50 * 640)
    assert inputs["mouths"].shape == (1, 50, 20, 20)
    means = inputs["mouths"][0].mean(dim=(1, 2))
    assert 0.6 < float(means[-1] / means[0]) < 0.8  # of the light
    assert float(inputs["mouths"].max()) <= 1
    assert transcript.peaks is not None
    assert np.abs(transcript.peaks - inputs["wav"][0].abs().view(50, 640).amax(dim=1).numpy()).max() == 0
    assert transcript.model.startswith("debug (")
    again = transcriber.transcribe(photo_clip, beam=QUICK)
    assert again.render("json") == transcript.render("json")


@pytest.mark.parametrize("rate", [NTSC, Fraction(50), Fraction(15)])
def test_pictures_of_any_rate_are_those_that_prepare_makes(
    rate: Fraction, transcriber: Transcriber, tmp_path: Path
) -> None:
    video = draw_clip(tmp_path / "clip.mp4", rate=rate, frames=round(2 * rate))
    config = transcriber.config
    models = FaceModels(*hub.read_face_models())
    source = choose_streams(video, None, "both", config)
    moments = list(read_frames(source, config, models, person="largest", keep_going=False, progress=None))
    detector = BlazeFaceMesh(models)
    source = ClipSource(name="c", video=video, speaker="s")
    ticks = _resample_frames(source, detector, config.mel.timing, config.crop_px, {})  # type: ignore[arg-type]
    crops = [pixels for _, pixels, _, _ in ticks]
    mouths = center_crop(extract_grey_mouths(np.stack(crops), config.cut, config.mouth_px), config.view_px)  # type: ignore[arg-type]
    assert len(moments) == len(mouths) == 50
    assert all((moment.mouth == mouth).all() for moment, mouth in zip(moments, mouths, strict=True))


def test_long_speech_is_read_in_pieces_that_join(
    transcriber: Transcriber, tmp_path: Path, encoder_calls: list[dict[str, Any]]
) -> None:
    """A pause at 4.4 s of 13.2 s parts it; nothing is lost, nothing is read twice."""

    def pause(wav: F32) -> F32:
        quiet = wav.copy()
        quiet[:, 4 * 16_000 : round(4.8 * 16_000)] = 0
        return quiet

    sound = write_audio(tmp_path / "long.wav", pause(tones(13.2, 16_000)), 16_000, "pcm_s16le")
    transcript = transcriber.transcribe(sound, beam=QUICK)
    edges = [(segment.start_s, segment.end_s) for segment in transcript.segments]
    assert edges[0] == (0, 4.4)
    assert edges[-1][1] == 13.2
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
    assert all(end - start <= 10 for start, end in edges)
    whole = torch.cat([call["wav"] for call in encoder_calls], dim=1)[0].numpy()
    assert np.abs(whole - pause(tones(13.2, 16_000))[0]).max() < 1e-4
    assert transcript.scores["audio"].mean.shape == (330,)
    for segment in transcript.segments:
        assert all(segment.start_s <= word.start_s < word.end_s <= segment.end_s for word in segment.words)


def test_where_nothing_is_seen_or_heard_nothing_is_read(
    transcriber: Transcriber, tmp_path: Path, encoder_calls: list[dict[str, Any]]
) -> None:
    silence = write_audio(tmp_path / "silence.wav", np.zeros((1, 16_000), np.float32), 16_000, "pcm_s16le")
    transcript = transcriber.transcribe(silence)
    assert (transcript.text, transcript.frames, encoder_calls) == ("", 25, [])
    assert np.isnan(transcript.scores["audio"].mean).all()
    assert json.loads(transcript.render("json"))["scores"]["audio"]["mean"] == [None] * 25


def test_words_have_the_times_and_probabilities_of_their_frames() -> None:
    tokens = Tokens()
    sentence = tokens.encode("at f")
    path = [0, 0, sentence[0], sentence[1], sentence[1], 0, sentence[2], 0, sentence[3], 0]
    probs = torch.full((10, tokens.size), 0.1 / (tokens.size - 1))
    for frame, token in enumerate(path):
        probs[frame, token] = 0.9
    probs[3, sentence[1]] = 0.5
    recognition = Recognition("at f", Hypothesis(tokens=tuple(sentence), score=0.0, parts={}), probs.log())
    first, second = build_words(recognition, tokens, first=100, fps=25)
    assert (first.text, first.start_s, first.end_s) == ("at", 4.08, 4.2)
    assert (second.text, second.start_s, second.end_s) == ("f", 4.32, 4.36)
    assert first.confidence == pytest.approx((0.9 * (0.5 * 0.9) ** 0.5) ** 0.5, abs=1e-4)
    assert second.confidence == pytest.approx(0.9, abs=1e-4)


def test_times_count_from_the_start_of_the_video(
    transcriber: Transcriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that the network reads in the middle of each piece."""

    def recognize_middle(_model: AVSR, encoding: Encoding, _config: BeamConfig, _language: object) -> list[Recognition]:
        tokens = transcriber.config.tokens
        frames = encoding.features.shape[1]
        probs = torch.full((frames, tokens.size), 1e-4)
        probs[:, 0] = 0.9
        [letter] = tokens.encode("a")
        probs[frames // 2, 0], probs[frames // 2, letter] = 1e-4, 0.9
        return [Recognition("a", Hypothesis(tokens=(letter,), score=0.0, parts={}), probs.log())]

    monkeypatch.setattr(module, "recognize", recognize_middle)
    sound = write_audio(tmp_path / "long.wav", tones(25, 16_000), 16_000, "pcm_s16le")
    transcript = transcriber.transcribe(sound)
    assert len(transcript.segments) >= 3
    for segment, word in zip(transcript.segments, transcript.words, strict=True):
        assert word.start_s == pytest.approx((segment.start_s + segment.end_s) / 2, abs=0.021)
        assert word.end_s == pytest.approx(word.start_s + 0.04)


def test_memory_holds_one_piece(transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch) -> None:
    """2000 moments go through; at no time are more of them alive than a piece and the next one."""
    alive = 0
    most = 0

    class Counted:
        def __init__(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    class Sound(np.ndarray):  # type: ignore[type-arg]
        counted: Counted

    def moments(*_args: Any, **_options: Any) -> Iterator[AVFrame]:
        for _ in range(2000):
            wav = np.zeros(640, np.float32).view(Sound)
            wav.counted = Counted()
            yield AVFrame(None, 0.0, wav)

    monkeypatch.setattr(module, "read_frames", moments)
    monkeypatch.setattr(module, "choose_streams", lambda *_: StreamFiles(video=None, audio=Path("any")))
    assert transcriber.transcribe("any").frames == 2000
    assert most <= 2 * 250 + 2
