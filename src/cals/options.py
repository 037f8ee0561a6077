"""Options of a job, the same ones for command line, Python, batches and pages."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from cals.errors import ConfigError

LengthPolicy = Literal["bounce", "loop", "audio", "video"]
FitPolicy = Literal["stretch", "cut", "spill"]
"""A voice that is longer than its segment: play it faster, cut its end, or let it go on after the segment."""
OcclusionPolicy = Literal["keep", "draw"]
"""Mouths behind a hand, a microphone or text: keep those frames, or draw over what is before the mouth."""
Background = Literal["drop", "keep"]
"""Sound of the video where somebody is given another speech: left out, or mixed in below the speech."""
SpeakerPolicy = Literal["given", "auto"]
"""Who says what in a dub: as given, or found by whose lips fit the sound of the video."""
SilencePolicy = Literal["rest", "keep", "drive"]
"""Mouths where nobody speaks: at rest, left as they are in the picture, or moved by whatever else is heard."""
Precision = Literal["auto", "fp32", "bf16"]
Runtime = Literal["torch", "onnxruntime", "openvino"]
"""What runs a model's networks; all but torch need a model that `cals models export` wrote."""
STRENGTH_RANGE = (0.5, 1.5)
"""Allowed scale of the mouth's motion."""
T = TypeVar("T")


def check_length(policy: str) -> None:
    """Raise ConfigError unless `policy` is a `LengthPolicy`."""
    if policy not in get_args(LengthPolicy):
        raise ConfigError(f"length: expected one of {', '.join(get_args(LengthPolicy))}, found '{policy}'")


def check_fit(policy: str) -> None:
    """Raise ConfigError unless `policy` is a `FitPolicy`."""
    if policy not in get_args(FitPolicy):
        raise ConfigError(f"fit: expected one of {', '.join(get_args(FitPolicy))}, found '{policy}'")


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
    who_speaks: SpeakerPolicy = "given"
    """`auto` gives each name and each segment without a person, or else each turn of a conversation, to the person
    whose lips fit the video's own sound then."""
    strength: float = 1.0
    """How much the mouth moves, 0.5 to 1.5; 1 is as this person does. Models that draw whole crops take 1 only."""
    covered: OcclusionPolicy = "keep"
    """A mouth with a hand, a microphone, a mask or text before it: `keep` leaves it as it is, `draw` draws over it."""
    fit: FitPolicy = "stretch"
    """A voice that is longer than its segment of a dub: `stretch` plays it up to 1.5 times as fast, `cut` cuts its end,
    `spill` lets it go on until the same person speaks again."""
    background: Background = "drop"
    """The video's own sound below the speech: `keep` mixes it in 12 dB lower, `drop` leaves it out."""
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
        check_fit(self.fit)
        if self.who_speaks not in get_args(SpeakerPolicy):
            raise ConfigError(
                f"who_speaks: expected given or auto, found {self.who_speaks!r}; auto compares sound and lips"
            )
        if self.background not in get_args(Background):
            raise ConfigError(
                f"background: expected drop or keep, found {self.background!r}; keep mixes the video's own sound in"
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
    """Video encoder: auto, h264, h265, vp9, prores, nvenc, h264_nvenc or hevc_nvenc. `auto` picks one that players
    know, and so does `nvenc`, but on an NVIDIA GPU where that can encode the video."""
    crf: int | None = None
    """Quality, lower is better; the default is near visually lossless."""
    preset: str | None = None
    """Encoder speed, as the encoder names it."""
    smart_render: bool = True
    """Copy the groups of pictures that a dub leaves as they are, where the codec allows it (H.264 in mp4 and mov)."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How much sound `LipSync.stream` waits for, and listens back to; ConfigError for values that contradict.

    With less look-ahead mouths differ more from those of `LipSync.frames`. The time of computing comes on top.
    """

    total_s: float = 0.5
    """Most sound after a frame's beginning that has come in before the frame comes out, at 12 frames/s or more."""
    look_ahead_s: float = 0.32
    """Sound after a frame that its mouth depends on, 0.24 or more; the rest of `total_s` is rendered at once."""
    window_s: float = 4.0
    """Sound that the network is run on for each batch of frames, 2 to 20."""

    def __post_init__(self) -> None:
        if not 0.24 <= self.look_ahead_s <= self.total_s - 0.1:
            raise ConfigError(
                f"latency: expected look_ahead_s from 0.24 to total_s - 0.1, found {self.look_ahead_s:g} of "
                f"{self.total_s:g}; 0.32 of 0.5 is the default"
            )
        if not self.total_s + 1.5 <= self.window_s <= 20:
            raise ConfigError(
                f"latency: expected window_s from total_s + 1.5 to 20, found {self.window_s:g}; 4 is the default"
            )


@dataclass(frozen=True, kw_only=True)
class ProvenanceOptions:
    """What outputs say of their making, and whose key signs it; ConfigError for options that contradict."""

    provenance: bool = True
    """Note in the file that the mouth is generated, and sign a C2PA manifest of it into mp4, m4v and mov."""
    sign_cert: str | Path | None = None
    """Certificates (PEM, the signer's first) to sign the manifest with; a key is made for you at first use if none."""
    sign_key: str | Path | None = None
    """Private key (PEM) of --sign-cert."""

    def __post_init__(self) -> None:
        if (self.sign_cert is None) != (self.sign_key is None):
            raise ConfigError("sign_cert, sign_key: expected both or neither, found one; give both files")
        if self.sign_cert is not None and not self.provenance:
            raise ConfigError("sign_cert: expected none without provenance, found one; leave out either")


def resolve_provenance(provenance: bool | ProvenanceOptions) -> ProvenanceOptions:
    """Return the options that a plain yes or no stands for."""
    return provenance if isinstance(provenance, ProvenanceOptions) else ProvenanceOptions(provenance=provenance)


def prefer_gpu(encode: EncodeOptions, device: str) -> EncodeOptions:
    """Return options that also encode on the GPU where models run on one, unless codec, quality or speed are chosen."""
    is_chosen = (encode.codec, encode.crf, encode.preset) != ("auto", None, None)
    return encode if is_chosen or not device.startswith("cuda") else replace(encode, codec="nvenc")


def override(options: T, changes: dict[str, Any]) -> T:
    """Return a copy of `options` with those of `changes` that are its fields, and take them out of `changes`."""
    names = {field.name for field in fields(options)}  # type: ignore[arg-type]
    own = {name: changes.pop(name) for name in list(changes) if name in names}
    return replace(options, **own) if own else options  # type: ignore[type-var]
