"""What a recogniser read in a video, and the forms in which it is written down."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cals.models.avsr.config import Streams
from cals.types import F32, U8

Format = Literal["text", "json", "srt", "vtt"]

_CUE_LETTERS, _CUE_GAP_S, _CUE_S = 60, 0.8, 1.0
"""Subtitles: letters at most, the gap between words that ends one, and how long one stays if the next one lets it."""


@dataclass(frozen=True, kw_only=True)
class TranscriptWord:
    """A word and its time in the video."""

    start_s: float
    end_s: float
    """CTC spikes rather than lasts: where a word ends is less sure than where it begins."""
    text: str
    confidence: float
    """Geometric mean of CTC's probabilities of its tokens in their frames, in 0..1; of order, not a share of errors."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch that was read at once, about a sentence."""

    start_s: float
    end_s: float
    words: tuple[TranscriptWord, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reliability:
    """How far a stream was trusted, in 0..1: over its channels, for each frame [t]; NaN where nothing was read."""

    mean: F32
    low: F32
    """A tenth of the channels is below it,"""
    high: F32
    """and a tenth above this."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Transcript:
    """What `Transcriber` read; a frame is one of the model's own rate, whatever the video's."""

    model: str
    streams: Streams
    """What it was read from."""
    fps: int
    frames: int
    segments: tuple[Segment, ...]
    """One after the other, without a gap."""
    scores: dict[str, Reliability]
    """By stream that was read, where the model scores them."""
    has_face: NDArray[np.bool_] | None = field(repr=False)
    """[t] Frames that show the person; None where no pictures were read."""
    peaks: F32 | None = field(repr=False)
    """[t] The greatest sample of each frame's sound, full scale is 1; None where no sound was heard."""
    mouths: dict[int, U8 | None] = field(repr=False)
    """Some of the mouths [h w], evenly spaced, by frame; None where there is no face."""

    @property
    def text(self) -> str:
        """All of it in one line."""
        return " ".join(segment.text for segment in self.segments if segment.words)

    @property
    def words(self) -> list[TranscriptWord]:
        return [word for segment in self.segments for word in segment.words]

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps

    @property
    def frames_without_face(self) -> int | None:
        """Dark to the model; None where no pictures were read."""
        return None if self.has_face is None else int((~self.has_face).sum())

    def render(self, form: Format) -> str:
        """The transcript as a file of this form has it: `text` is a line for each segment in which words were read."""
        if form == "json":
            return json.dumps(self.document(), indent=1) + "\n"
        if form == "text":
            return "".join(f"{segment.text}\n" for segment in self.segments if segment.words)
        return "".join(_subtitles(self.words, form))

    def line(self) -> str:
        """The closing line of a job."""
        dark = self.frames_without_face
        faces = f", {dark} of {self.frames} frames without a face" if dark else ""
        streams = {"both": "sound and lips", "audio": "sound", "video": "lips"}[self.streams]
        return f"{len(self.words)} words in {self.duration_s:.2f} s of {streams}{faces}"

    def document(self) -> dict[str, Any]:
        """All of it but the pictures, as JSON has it; times in seconds, scores for each frame."""
        return {
            "format": 1,
            "model": self.model,
            "streams": self.streams,
            "text": self.text,
            "fps": self.fps,
            "frames": self.frames,
            "frames_without_face": self.frames_without_face,
            "segments": [
                {"start_s": segment.start_s, "end_s": segment.end_s, "text": segment.text}
                | {"words": [asdict(word) for word in segment.words]}
                for segment in self.segments
            ],
            "scores": {
                stream: {name: _plain(values) for name, values in vars(scores).items()}
                for stream, scores in self.scores.items()
            },
        }


def _plain(values: F32) -> list[float | None]:
    """Numbers as JSON has them, which knows no NaN."""
    return [None if math.isnan(value) else round(value, 4) for value in values.tolist()]


def _subtitles(words: Sequence[TranscriptWord], form: Literal["srt", "vtt"]) -> Iterator[str]:
    """Cues with their times, as SubRip and WebVTT have them."""
    mark = "," if form == "srt" else "."
    cues = list(_cues(words))
    if form == "vtt":
        yield "WEBVTT\n\n"
    for number, cue in enumerate(cues):
        start_s, end_s = cue[0].start_s, max(cue[-1].end_s, cue[0].start_s + _CUE_S)
        if number + 1 < len(cues):
            end_s = min(end_s, cues[number + 1][0].start_s)
        name = f"{number + 1}\n" if form == "srt" else ""
        yield f"{name}{_clock(start_s, mark)} --> {_clock(end_s, mark)}\n{' '.join(word.text for word in cue)}\n\n"


def _cues(words: Sequence[TranscriptWord]) -> Iterator[list[TranscriptWord]]:
    cue: list[TranscriptWord] = []
    for word in words:
        letters = sum(len(other.text) + 1 for other in cue) + len(word.text)
        if cue and (letters > _CUE_LETTERS or word.start_s - cue[-1].end_s >= _CUE_GAP_S):
            yield cue
            cue = []
        cue.append(word)
    if cue:
        yield cue


def _clock(time_s: float, mark: str) -> str:
    minutes, milliseconds = divmod(round(1000 * time_s), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"
