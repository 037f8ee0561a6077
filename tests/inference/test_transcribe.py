"""`Transcriber` and `cals transcribe`: a network that has learnt nothing, on videos of a photo beside tones."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cals import Transcriber, hub
from cals.checkpoint import Checkpoint, save_checkpoint
from cals.cli import main
from cals.data.manifest import ClipSource
from cals.data.segments import _resample_frames
from cals.data.utterances import center_crop, extract_grey_mouths
from cals.errors import CheckpointError, ConfigError, MediaError, NoFaceError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.inference import transcribe as module
from cals.inference.transcribe import build_words
from cals.inference.utterance import AVFrame, StreamFiles, choose_streams, read_frames
from cals.models.avsr.beam import BeamConfig, Hypothesis
from cals.models.avsr.network import AVSR, Encoding
from cals.models.avsr.recognize import Recognition
from cals.models.avsr.tokens import Tokens
from cals.models.sync import SyncConfig, SyncModel
from cals.models.whisper import WhisperConfig
from cals.types import F32
from drawing import tones, write_audio, write_video
from recognizer import save_recognizer

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
QUICK = BeamConfig(beam=2, max_length_ratio=0.1)
NTSC = Fraction(30000, 1001)


def draw_clip(
    path: Path,
    *,
    rate: Fraction | int = 25,
    frames: int = 50,
    dark: range = range(0),
    sound_s: float | None = 2.0,
    level: Callable[[F32], F32] = lambda wav: wav,
) -> Path:
    """Write a video of a photo in a light that falls, without the face in `dark`, beside tones."""
    photo = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)[:320, 64:384]
    photo = cv2.resize(photo, (192, 192), interpolation=cv2.INTER_AREA)
    pictures = [
        np.full_like(photo, 90) if i in dark else (photo * (1 - 0.3 * i / frames)).astype(np.uint8)
        for i in range(frames)
    ]
    wav = None if sound_s is None else level(tones(sound_s, 16_000))
    return write_video(
        path, frames=pictures, rate=rate, size=(192, 192), options={"crf": "14"}, sound=wav, sound_rate_hz=16_000
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_recognizer(tmp_path_factory.mktemp("avsr") / "debug")


@pytest.fixture(scope="module")
def transcriber(folder: Path) -> Transcriber:
    return Transcriber(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def encoder_calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the network is given, call by call."""
    calls: list[dict[str, Any]] = []
    encode = AVSR.encode

    def spy(self: AVSR, wav: Any, mouths: Any, valid: Any, trusted: Any) -> Encoding:
        calls.append({"wav": wav, "mouths": mouths, "valid": valid, "trusted": trusted})
        return encode(self, wav, mouths, valid, trusted)

    monkeypatch.setattr(AVSR, "encode", spy)
    return calls


def test_a_clip_from_end_to_end(transcriber: Transcriber, clip: Path, encoder_calls: list[dict[str, Any]]) -> None:
    steps: list[tuple[int, int | None]] = []
    transcript = transcriber.transcribe(clip, beam=QUICK, progress=lambda done, total: steps.append((done, total)))
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
    again = transcriber.transcribe(clip, beam=QUICK)
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


def test_frames_that_are_not_there_do_not_matter(folder: Path) -> None:
    """The features of a dark frame are zero, whatever its picture and those around it give."""
    network = Transcriber(folder)._network
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


def test_nobody_in_the_picture(transcriber: Transcriber, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With sound it is read, and said; lips alone cannot be."""
    video = draw_clip(tmp_path / "nobody.mp4", frames=15, dark=range(15), sound_s=0.6)
    transcript = transcriber.transcribe(video, beam=QUICK)
    assert transcript.frames_without_face == transcript.frames == 15
    assert any("found none in any frame" in line and "the sound alone" in line for line in caplog.messages)
    with pytest.raises(NoFaceError, match="found none in any frame"):
        transcriber.transcribe(video, beam=QUICK, streams="video")


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
    transcriber: Transcriber, clip: Path, encoder_calls: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    from_audio = transcriber.transcribe(clip, streams="audio", beam=QUICK)
    from_video = transcriber.transcribe(clip, streams="video", beam=QUICK)
    assert (from_audio.streams, from_video.streams) == ("audio", "video")
    assert [call["mouths"] is None for call in encoder_calls] == [True, False]
    assert [call["wav"] is None for call in encoder_calls] == [False, True]
    assert (from_audio.frames_without_face, from_video.frames_without_face) == (None, 0)
    assert not caplog.messages


def test_the_sound_of_another_file(
    transcriber: Transcriber, clip: Path, tmp_path: Path, encoder_calls: list[dict[str, Any]]
) -> None:
    """Which goes on after the pictures."""
    other = write_audio(tmp_path / "other.wav", 0.1 * tones(3, 16_000), 16_000, "pcm_s16le")
    transcript = transcriber.transcribe(clip, audio=other, beam=QUICK)
    assert (transcript.frames, transcript.frames_without_face, transcript.streams) == (75, 25, "both")
    assert float(encoder_calls[0]["wav"].abs().max()) < 0.06
    with pytest.raises(ConfigError, match="lips alone or the sound of another file"):
        transcriber.transcribe(clip, audio=other, streams="video")


@pytest.mark.parametrize(("has", "lacks"), [("audio", "video"), ("video", "audio")])
def test_a_recogniser_of_one_stream(
    has: Any, lacks: Any, clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    single = Transcriber(save_recognizer(tmp_path / "single", streams=has))
    transcript = single.transcribe(clip, beam=QUICK)
    assert transcript.streams == has
    assert transcript.scores == {}
    assert transcript.frames == 50
    assert not caplog.messages
    assert single.transcribe(clip, streams=has, beam=QUICK).text == transcript.text
    with pytest.raises(ConfigError, match=f"expected {has}, which is all .* trained on, found {lacks}"):
        single.transcribe(clip, streams=lacks)
    with pytest.raises(ConfigError, match=f"found one of {has} alone; leave --scores out"):
        single.check_scores()


def test_a_recogniser_that_hears_with_whisper(clip: Path, tmp_path: Path) -> None:
    """Whose weights are not in its checkpoint, but in the package."""
    folder = save_recognizer(tmp_path / "whisper", streams="audio", whisper=WhisperConfig())
    transcript = Transcriber(folder).transcribe(clip, beam=QUICK)
    assert (transcript.streams, transcript.frames) == ("audio", 50)


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


def test_errors_of_the_model(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a checkpoint folder"):
        Transcriber(tmp_path)
    sync = SyncModel(SyncConfig())
    other = dataclasses.asdict(SyncConfig())
    save_checkpoint(tmp_path / "sync", Checkpoint(kind="sync", config=other, weights=dict(sync.state_dict())))
    with pytest.raises(CheckpointError, match="expected a recogniser, found a 'sync' model"):
        Transcriber(tmp_path / "sync")
    with pytest.raises(ConfigError, match="device: expected"):
        Transcriber(folder, device="nowhere")
    with pytest.raises(MediaError, match="found nothing there"):
        Transcriber(folder).transcribe(tmp_path / "absent.mp4")


class TestCommand:
    def test_text_goes_to_stdout_and_files_appear_whole(
        self, folder: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plot, out = tmp_path / "plot.png", tmp_path / "words.json"
        arguments = ["transcribe", str(clip), "--model", str(folder), "--beam", "1"]
        main([*arguments, "--audio-only"])
        printed = capsys.readouterr()
        assert printed.out == Transcriber(folder).transcribe(clip, streams="audio", beam=BeamConfig(beam=1)).render(
            "text"
        )
        main([*arguments, "--video-only", "--format", "json", "--out", str(out), "--scores", str(plot)])
        assert json.loads(out.read_text())["streams"] == "video"
        assert cv2.imread(str(plot)) is not None
        assert capsys.readouterr().out.startswith(f"{out}: ")
        main([*arguments, "--audio-only", "--format", "vtt"])
        assert capsys.readouterr().out.startswith("WEBVTT\n")
        for option, path in (("--out", out), ("--scores", plot)):
            with pytest.raises(SystemExit):
                main([*arguments, option, str(path)])
            assert "--force" in capsys.readouterr().err
        main([*arguments, "--audio-only", "--format", "srt", "--out", str(out), "--force"])
        assert not out.read_text().startswith("{")

    def test_nothing_half_written_stays(self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        names = [f"--{name}" for name in ("out", "scores")]
        files = [tmp_path / "a.txt", tmp_path / "a.png"]
        options = [item for pair in zip(names, map(str, files), strict=True) for item in pair]
        with pytest.raises(SystemExit):
            main(["transcribe", str(PHOTO), "--model", str(folder), *options])
        assert "expected sound or moving pictures" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--audio-only", "--video-only"], "for both streams give neither"),
            (["--scores", "a.jpg"], "ending in .png"),
            (["--beam", "0"], "expected a beam of 1 or more"),
        ],
    )
    def test_wrong_options(
        self, options: list[str], message: str, folder: Path, clip: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            main(["transcribe", str(clip), "--model", str(folder), *options])
        assert message in " ".join(capsys.readouterr().err.split())

    def test_scores_need_a_recogniser_that_scores(
        self, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = save_recognizer(tmp_path / "plain", scoring=False)
        plot = tmp_path / "plot.png"
        with pytest.raises(SystemExit):
            main(["transcribe", str(clip), "--model", str(model), "--scores", str(plot)])
        assert "found one without scores; leave --scores out" in capsys.readouterr().err
        assert not plot.exists()
