"""What a dub is asked for: who says what when, in one of three ways, checked before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cals.errors import ConfigError, DataError
from cals.inference.dub import (
    assign_people,
    build_full_segments,
    build_part_segment,
    check_background,
    use_video_length,
)
from cals.inference.dub_segments import DubSegment, check_duration, load_segments
from cals.media.source import VideoSource
from cals.options import GenerateOptions

if TYPE_CHECKING:
    from cals.inference.lipsync import LipSync
    from cals.inference.report import GenerateReport

_FOREVER_S = 1e9


@dataclass(frozen=True, kw_only=True)
class DubRequest:
    """Who says what when: one of `speak`, `segments`, and `start` or `end`; ConfigError for several or none."""

    speak: tuple[tuple[str, Path], ...] = ()
    """Persons, and what each says from the first frame on."""
    segments: Path | None = None
    """A file as `load_segments` reads it."""
    voices: Path | Mapping[str, Path] | None = None
    """The `audio_dir` of `load_segments`."""
    cast: Mapping[str, str | int] = field(default_factory=dict)
    """Persons behind the names in `segments`."""
    start: str | None = None
    """Start of the only part that is changed: seconds or HH:MM:SS.mmm."""
    end: str | None = None
    """End of that part."""
    segment_voices: tuple[Path, ...] = ()
    """Files that the segments name, as far as they are known before they are loaded."""

    def __post_init__(self) -> None:
        kinds = self._list_kinds()
        if len(kinds) != 1:
            found = f"--{' and --'.join(kinds)}" if kinds else "none"
            raise ConfigError(
                f"{[*kinds, 'dub'][0]}: expected one kind of dub, found {found}; give speak, segments, or from and to"
            )
        for name, value in (("audio-dir", self.voices), ("cast", self.cast)):
            if value and self.segments is None:
                raise ConfigError(f"{name}: expected --segments beside it, found none; give them, or leave it out")

    def _list_kinds(self) -> list[str]:
        is_part = self.start is not None or self.end is not None
        given = {"speak": bool(self.speak), "segments": self.segments is not None, "from": is_part}
        return [kind for kind, is_given in given.items() if is_given]

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files that are read, beside the face and what is heard."""
        voices = self.voices.values() if isinstance(self.voices, Mapping) else ()
        segments = () if self.segments is None else (self.segments,)
        return (*segments, *(path for _, path in self.speak), *voices, *self.segment_voices)

    def find_segment_voices(self) -> "DubRequest":
        """Return the request with the files that its segments name; DataError where they cannot be read."""
        if self.segments is None:
            return self
        voices = (segment.audio for segment in load_segments(self.segments, self.voices))
        return replace(self, segment_voices=tuple(dict.fromkeys(voice for voice in voices if voice is not None)))

    def load(self, face: Path, audio: Path | None, options: GenerateOptions) -> tuple[list[DubSegment], Path | None]:
        """Return the segments, and what is heard instead of the mix of their voices.

        Raises ConfigError where a sound is missing, DataError and MediaError for files that cannot be used.
        """
        if self.segments is not None:
            return load_segments(self.segments, self.voices), audio
        if self.speak:
            return build_full_segments(face, self.speak, options), audio
        if audio is None:
            raise ConfigError("from: expected what is said there, found none; give --audio")
        return [build_part_segment(face, audio, self.start, self.end, options)], None

    def check(self, face: Path, audio: Path | None, options: GenerateOptions, limit_s: float) -> None:
        """Raise CalsError for what `LipSync.dub` would refuse, and for segments that end after `limit_s`."""
        segments, mix = self.load(face, audio, options)
        source = VideoSource(face, keep_going=options.keep_going, size=options.size)
        use_video_length(options, source)
        check_background(mix, options)
        duration_s = None if source.is_photo else source.duration_s
        check_duration(segments, Fraction(min(limit_s, _FOREVER_S)) if duration_s is None else duration_s)
        if options.who_speaks == "given":
            assign_people(segments, self.cast, options)
        has_voice = [segment.audio is not None for segment in segments]
        if not all(has_voice) and (mix is None or any(has_voice)):
            silent = segments[has_voice.index(False)]
            raise DataError(f"{silent.source}: expected a voice for the segment, found none; name one, or send it")


def write_dub(
    lips: "LipSync",
    request: DubRequest | None,
    face: Path,
    audio: Path | None,
    out: Path,
    options: GenerateOptions,
    **output: Any,
) -> "GenerateReport":
    """Write a dub by `LipSync.dub`, which takes `output` too; without a request `audio` is a conversation."""
    if request is None:
        return lips.dub(face, None, out, options, audio=audio, **output)
    segments, mix = request.load(face, audio, options)
    inputs = () if request.segments is None else (request.segments,)
    return lips.dub(face, segments, out, options, audio=mix, people=request.cast, inputs=inputs, **output)


def parse_pairs(name: str, values: Sequence[str], form: str) -> list[tuple[str, str]]:
    """Split texts of the form LEFT=RIGHT; ConfigError for others."""
    pairs = []
    for value in values:
        left, equals, right = value.partition("=")
        if not (left.strip() and equals and right.strip()):
            raise ConfigError(f"{name}: expected {form}, found {value!r}; write it with an equals sign")
        pairs.append((left.strip(), right.strip()))
    return pairs


def parse_cast(values: Sequence[str]) -> dict[str, str | int]:
    """Return the persons of NAME=PERSON by name; ConfigError for other forms."""
    pairs = parse_pairs("cast", values, "NAME=PERSON")
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ConfigError(f"cast: expected each name once, found {', '.join(names)}; leave one out")
    return dict(pairs)
