"""Options of a job, the same ones for command line, Python, batches and pages."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from cals.errors import ConfigError

LengthPolicy = Literal["bounce", "loop", "audio", "video"]
OcclusionPolicy = Literal["keep", "draw"]
"""Mouths behind a hand, a microphone or text: keep those frames, or draw over what is before the mouth."""
SilencePolicy = Literal["rest", "keep", "drive"]
"""Mouths where nobody speaks: at rest, left as they are in the picture, or moved by whatever else is heard."""
STRENGTH_RANGE = (0.5, 1.5)
"""Allowed scale of the mouth's motion."""
T = TypeVar("T")


def check_length(policy: str) -> None:
    """Raise ConfigError unless `policy` is a `LengthPolicy`."""
    if policy not in get_args(LengthPolicy):
        raise ConfigError(f"length: expected one of {', '.join(get_args(LengthPolicy))}, found '{policy}'")


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Options of `LipSync.frames` and `LipSync.generate`; ConfigError for values out of range."""

    pose: str | Path | None = None
    """Video whose head a photo's is held like, played back and forth, for models of PC-AVS and Audio2Head.
    The output is then the face's crop. Without it a face keeps its pose, except photos by Audio2Head."""
    length: LengthPolicy = "bounce"
    """When sound and picture differ in length: `bounce` plays a shorter video back and forth and cuts a longer one.
    `loop` starts a shorter one again, `audio` holds its last frame.
    `video` keeps the picture's length; the mouth rests after the speech."""
    person: str | int = "largest"
    """Whom to follow: largest, left, right, a number counted from the left, or x,y@seconds."""
    strength: float = 1.0
    """How much the mouth moves, 0.5 to 1.5; 1 is as this person does. Models that draw whole crops take 1 only."""
    covered: OcclusionPolicy = "keep"
    """A mouth with a hand, a microphone, a mask or text before it: `keep` leaves it as it is, `draw` draws over it."""
    silence: SilencePolicy = "rest"
    """The mouth where nobody speaks: `rest` holds it still, `keep` leaves the picture's own, fading within the pause.
    `drive` lets music and noise move it too, for songs and voices that are not recognised as speech."""
    audio_track: str | int | None = None
    """Which of several sound tracks of `audio` drives: a number from 1 on, or a language such as eng."""
    keep_tracks: bool = True
    """Carry further sound tracks, subtitles and chapters of `face` over, where the output can hold them."""
    alive: bool = False
    """Let a photo blink and move its head slightly; its own pixels are warped. Not for videos."""
    size: int | None = None
    """Longest side in pixels of a video made of a photo; 4096 unless given.
    Positions in `person` count in its pixels."""
    keep_going: bool = False
    """Use what can be decoded of a damaged video or sound."""

    def __post_init__(self) -> None:
        check_length(self.length)
        if self.covered not in get_args(OcclusionPolicy):
            raise ConfigError(
                f"covered: expected keep or draw, found {self.covered!r}; keep leaves covered mouths as they are"
            )
        if self.silence not in get_args(SilencePolicy):
            raise ConfigError(
                f"silence: expected one of {', '.join(get_args(SilencePolicy))}, found {self.silence!r}; rest holds "
                "the mouth still"
            )
        low, high = STRENGTH_RANGE
        if not low <= self.strength <= high:
            raise ConfigError(
                f"strength: expected {low} to {high}, found {self.strength:g}; 1 moves as the person does"
            )


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """Options of the video encoder."""

    codec: str = "auto"
    """Video encoder: auto, h264, h265, vp9 or prores; `auto` picks one that players know."""
    crf: int | None = None
    """Quality, lower is better; the default is near visually lossless."""
    preset: str | None = None
    """Encoder speed, as the encoder names it."""


def override(options: T, changes: dict[str, Any]) -> T:
    """Return a copy of `options` with those of `changes` that are its fields, and take them out of `changes`."""
    names = {field.name for field in fields(options)}  # type: ignore[arg-type]
    own = {name: changes.pop(name) for name in list(changes) if name in names}
    return replace(options, **own) if own else options  # type: ignore[type-var]
