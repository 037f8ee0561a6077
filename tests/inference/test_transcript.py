"""What a transcript says of itself, and its written forms."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from cals.inference.transcript import Reliability, Segment, Transcript, TranscriptWord
from cals.inference.transcript_plot import draw_transcript

FRAMES = 100


def word(text: str, start_s: float, end_s: float) -> TranscriptWord:
    return TranscriptWord(start_s=start_s, end_s=end_s, text=text, confidence=0.5)


def build_reliability(values: np.ndarray) -> Reliability:
    values = values.astype(np.float32)
    return Reliability(mean=values, low=values - 0.1, high=values + 0.1)


@pytest.fixture
def transcript() -> Transcript:
    """Two sentences in 4 s, after the first of which there is no face for a while."""
    ramp = np.linspace(0.2, 0.8, FRAMES)
    lips = np.where(np.arange(FRAMES) < 50, np.nan, 0.5)
    has_face = np.ones(FRAMES, bool)
    has_face[30:42] = False
    first = (word("bin", 0.2, 0.4), word("blue", 0.48, 0.8))
    second = (word("at", 2.2, 2.24), word("f", 3.4, 3.48))
    return Transcript(
        model="toy (0)",
        streams="both",
        fps=25,
        frames=FRAMES,
        segments=(
            Segment(start_s=0, end_s=1.6, words=first),
            Segment(start_s=1.6, end_s=2, words=()),
            Segment(start_s=2, end_s=4, words=second),
        ),
        scores={"audio": build_reliability(ramp), "video": build_reliability(lips)},
        has_face=has_face,
        peaks=np.full(FRAMES, 0.3, np.float32),
        mouths={0: np.full((20, 20), 90, np.uint8), 40: None, 80: np.full((20, 20), 200, np.uint8)},
    )


def test_text_and_counts(transcript: Transcript) -> None:
    assert transcript.text == "bin blue at f"
    assert transcript.render("text") == "bin blue\nat f\n"
    assert [one.text for one in transcript.words] == ["bin", "blue", "at", "f"]
    assert transcript.duration_s == 4
    assert transcript.frames_without_face == 12
    assert transcript.line() == "4 words in 4.00 s of sound and lips, 12 of 100 frames without a face"
    audio_only = replace(transcript, streams="audio", has_face=None)
    assert audio_only.frames_without_face is None
    assert audio_only.line() == "4 words in 4.00 s of sound"
    nothing = replace(transcript, segments=transcript.segments[1:2])
    assert nothing.text == nothing.render("text") == nothing.render("srt") == ""


def test_json_has_all_of_it(transcript: Transcript) -> None:
    document = json.loads(transcript.render("json"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["format"] == 1
    assert [document[name] for name in ("model", "streams", "fps", "frames")] == ["toy (0)", "both", 25, FRAMES]
    assert document["frames_without_face"] == 12
    assert [segment["text"] for segment in document["segments"]] == ["bin blue", "", "at f"]
    assert document["segments"][2]["words"][1] == {"start_s": 3.4, "end_s": 3.48, "text": "f", "confidence": 0.5}
    assert document["scores"]["audio"]["mean"][::99] == [0.2, 0.8]
    assert document["scores"]["video"]["low"][49:51] == [None, 0.4]


def test_subtitles(transcript: Transcript) -> None:
    """A cue stays a second, or until the next one; a pause parts cues, the last one ends with the video."""
    assert transcript.render("srt") == (
        "1\n00:00:00,200 --> 00:00:01,200\nbin blue\n\n"
        "2\n00:00:02,200 --> 00:00:03,200\nat\n\n"
        "3\n00:00:03,400 --> 00:00:04,000\nf\n\n"
    )
    assert transcript.render("vtt").startswith("WEBVTT\n\n00:00:00.200 --> 00:00:01.200\nbin blue\n\n00:00:02.200")


def test_cues_are_short_and_one_after_the_other(transcript: Transcript) -> None:
    start_s = 3600 - 5.0
    words = tuple(word("weather", start_s + 0.1 * i, start_s + 0.1 * i + 0.08) for i in range(40))
    long = replace(transcript, frames=100_000, segments=(Segment(start_s=0, end_s=4000, words=words),))
    cues = [cue.split("\n") for cue in long.render("vtt").strip().split("\n\n")[1:]]
    assert " ".join(text for _, text in cues) == long.text
    assert all(len(text) <= 60 for _, text in cues)
    times = [time.split(" --> ") for time, _ in cues]
    assert all(start < end for start, end in times)
    assert all(one[1] <= other[0] for one, other in pairwise(times))
    assert times[0][0] == "00:59:55.000"
    late = replace(long, segments=(Segment(start_s=0, end_s=4000, words=(word("on", 3661.9999, 3662.5),)),))
    assert late.render("srt") == "1\n01:01:02,000 --> 01:01:03,000\non\n\n"


def test_the_plot_shows_streams_words_sound_and_lips(transcript: Transcript, tmp_path: Path) -> None:
    def draw(one: Transcript) -> np.ndarray:
        draw_transcript(one, "clip.mp4", tmp_path / "plot.png")
        picture = cv2.imread(str(tmp_path / "plot.png"))
        assert picture is not None
        return picture

    whole = draw(transcript)
    for name in ("#2a6f97", "#c8553d"):
        blue_green_red = np.array([int(name[i : i + 2], 16) for i in (5, 3, 1)])
        assert (np.abs(whole - blue_green_red).max(axis=2) < 8).sum() > 50, name
    for shade in (90, 200):
        assert (whole == shade).all(axis=2).sum() > 1000  # the mouths as they are
    parts: dict[str, dict[str, object]] = {"words": {"segments": ()}, "sound": {"peaks": None}}
    for part, change in parts.items():
        assert (draw(replace(transcript, **change)) != whole).any(), part
    long = replace(transcript, frames=3000, scores={}, peaks=None, has_face=None, segments=transcript.segments * 10)
    assert draw(long).shape[1] == 4000
