"""The transcript of a video, and its formats: text, JSON and subtitles."""

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
"""Subtitles: most letters of a cue, the gap between words that ends it, and its shortest duration unless the next
cue begins earlier."""


@dataclass(frozen=True, kw_only=True)
class TranscriptWord:
    """A word and its time in the video."""

    start_s: float
    end_s: float
    """Less certain than `start_s`: CTC emits spikes, not durations."""
    text: str
    confidence: float
    """Geometric mean of CTC's probabilities of its tokens in their frames, in 0..1; it ranks words, and is not an
    error rate."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of the video that was recognised at once, about a sentence."""

    start_s: float
    end_s: float
    words: tuple[TranscriptWord, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reliability:
    """Reliability of a stream over its channels, in 0..1, for each frame [t]; NaN where nothing was recognised."""

    mean: F32
    low: F32
    """10 % quantile over the channels."""
    high: F32
    """90 % quantile over the channels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Transcript:
    """Result of `Transcriber`; frames are those of the model's own rate, whatever the video's."""

    model: str
    streams: Streams
    """The streams that were read."""
    fps: int
    frames: int
    segments: tuple[Segment, ...]
    """In order, without gaps."""
    scores: dict[str, Reliability]
    """Reliability by stream, where the model scores its streams."""
    has_face: NDArray[np.bool_] | None = field(repr=False)
    """[t] Frames that show the person; None where no video was read."""
    peaks: F32 | None = field(repr=False)
    """[t] Peak of each frame's sound, full scale is 1; None where no sound was read."""
    mouths: dict[int, U8 | None] = field(repr=False)
    """Some of the mouths [h w], evenly spaced, by frame; None where there is no face."""

    @property
    def text(self) -> str:
        """The whole text in one line."""
        return " ".join(segment.text for segment in self.segments if segment.words)

    @property
    def words(self) -> list[TranscriptWord]:
        return [word for segment in self.segments for word in segment.words]

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps

    @property
    def frames_without_face(self) -> int | None:
        """Frames without a mouth for the model; None where no video was read."""
        return None if self.has_face is None else int((~self.has_face).sum())

    def render(self, form: Format) -> str:
        """Render the transcript in a format; `text` has a line for each segment with words."""
        if form == "json":
            return json.dumps(self.document(), indent=1) + "\n"
        if form == "text":
            return "".join(f"{segment.text}\n" for segment in self.segments if segment.words)
        return "".join(_render_subtitles(self.words, form, self.duration_s))

    def line(self) -> str:
        """Return the closing line of a job."""
        missing = self.frames_without_face
        faces = f", {missing} of {self.frames} frames without a face" if missing else ""
        streams = {"both": "sound and lips", "audio": "sound", "video": "lips"}[self.streams]
        return f"{len(self.words)} words in {self.duration_s:.2f} s of {streams}{faces}"

    def document(self) -> dict[str, Any]:
        """Return all of it but the pictures as a JSON document; times in seconds, scores for each frame."""
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
                stream: {name: _to_json(values) for name, values in vars(scores).items()}
                for stream, scores in self.scores.items()
            },
        }


def _to_json(values: F32) -> list[float | None]:
    """Convert numbers for JSON, which has no NaN: None in its place."""
    return [None if math.isnan(value) else round(value, 4) for value in values.tolist()]


def _render_subtitles(words: Sequence[TranscriptWord], form: Literal["srt", "vtt"], duration_s: float) -> Iterator[str]:
    """Render cues with their times in SubRip or WebVTT syntax."""
    separator = "," if form == "srt" else "."
    cues = list(_split_cues(words))
    if form == "vtt":
        yield "WEBVTT\n\n"
    for number, cue in enumerate(cues):
        start_s, end_s = cue[0].start_s, max(cue[-1].end_s, cue[0].start_s + _CUE_S)
        end_s = min(end_s, cues[number + 1][0].start_s if number + 1 < len(cues) else duration_s)
        name = f"{number + 1}\n" if form == "srt" else ""
        times = f"{_format_time(start_s, separator)} --> {_format_time(end_s, separator)}"
        yield f"{name}{times}\n{' '.join(word.text for word in cue)}\n\n"


def _split_cues(words: Sequence[TranscriptWord]) -> Iterator[list[TranscriptWord]]:
    cue: list[TranscriptWord] = []
    for word in words:
        letters = sum(len(other.text) + 1 for other in cue) + len(word.text)
        if cue and (letters > _CUE_LETTERS or word.start_s - cue[-1].end_s >= _CUE_GAP_S):
            yield cue
            cue = []
        cue.append(word)
    if cue:
        yield cue


def _format_time(time_s: float, separator: str) -> str:
    minutes, milliseconds = divmod(round(1000 * time_s), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{separator}{milliseconds % 1000:03}"
