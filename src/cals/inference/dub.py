"""A dub: voices of one or more persons at their places in a video, as what drives the mouths and what is heard."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from cals.errors import ConfigError
from cals.face.person import parse_person
from cals.inference.dub_segments import DubSegment, check_duration, check_overlaps
from cals.inference.dub_sound import PlacedSegment, open_dub_sound, place_segments
from cals.inference.pipeline import Part
from cals.inference.schedule import Schedule, Span
from cals.inference.speech_track import SpeechTrack
from cals.inference.subtitles import parse_time
from cals.media.audio import mono_blocks, probe
from cals.media.mix import MixedSound
from cals.media.placement import Placement
from cals.media.source import VideoSource
from cals.options import GenerateOptions
from cals.types import F32

BACKGROUND_GAIN = 0.25
"""Gain of the video's own sound below a voice, 12 dB down."""


def build_full_segments(
    face: Path, speeches: Sequence[tuple[str | int, Path]], options: GenerateOptions
) -> list[DubSegment]:
    """Build a segment for each person and sound, from the first frame to the end of the sound or of the video."""
    video_s = _read_duration_s(face, options)
    segments = []
    for person, audio in speeches:
        voice_s = probe(audio, track=options.audio_track, keep_going=options.keep_going).duration_s
        end_s = voice_s if video_s is None else min(voice_s, video_s)
        source = f"--speak {person}"
        segments.append(
            DubSegment(start_s=Fraction(0), end_s=end_s, audio=audio, person=person, fit="cut", source=source)
        )
    return segments


def build_part_segment(
    face: Path, voice: Path, start: str | None, end: str | None, options: GenerateOptions
) -> DubSegment:
    """Build the segment of the one part of a video that is changed, by default from its start or to its end.

    `start` and `end` are seconds or HH:MM:SS.mmm; ConfigError for others.
    """
    times: dict[str, Fraction | None] = {}
    for name, value in (("from", start), ("to", end)):
        try:
            times[name] = None if value is None else parse_time(value)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}; correct it") from error
    start_s, end_s = times["from"] or Fraction(0), times["to"]
    if end_s is None:
        end_s = start_s + probe(voice, track=options.audio_track, keep_going=options.keep_going).duration_s
        video_s = _read_duration_s(face, options)
        if video_s is not None and start_s < video_s:
            end_s = min(end_s, video_s)
    return DubSegment(start_s=start_s, end_s=end_s, audio=voice, source="--from and --to")


def _read_duration_s(face: Path, options: GenerateOptions) -> Fraction | None:
    """Return the length of a video; None for a photo, and where the file states none."""
    source = VideoSource(face, keep_going=options.keep_going)
    return None if source.is_photo else source.duration_s


def assign_people(
    segments: Sequence[DubSegment], people: Mapping[str, str | int], options: GenerateOptions
) -> list[DubSegment]:
    """Return the segments sorted by start, with the person of each as `parse_person` takes it.

    `people` are the persons behind the names in the segments; those of `options` is that of segments without one.
    Raises ConfigError for names that are unknown or in no segment, DataError where one person has two segments at once.
    """
    if not segments:
        raise ConfigError("segments: expected one or more, found none; name a person and a sound, or a file")
    unused = [name for name in people if all(str(segment.person) != name for segment in segments)]
    if unused:
        raise ConfigError(
            f"cast: expected names that the segments use, found {', '.join(unused)}; correct or leave out --cast"
        )
    assigned = [
        replace(
            segment,
            person=_resolve_person(segment, people, options.person),
            track=options.audio_track if segment.track is None else segment.track,
        )
        for segment in segments
    ]
    assigned.sort(key=lambda segment: (segment.start_s, segment.end_s))
    check_overlaps(assigned)
    return assigned


def _resolve_person(segment: DubSegment, people: Mapping[str, str | int], default: str | int) -> str:
    if segment.person is None:
        return str(default)
    name = str(segment.person)
    if name in people:
        try:
            parse_person(str(people[name]))
        except ConfigError as error:
            raise ConfigError(f"cast: {name}: {error}") from error
        return str(people[name])
    try:
        parse_person(name)
    except ConfigError as error:
        if segment.source.startswith("--speak"):
            raise ConfigError(f"{segment.source}: {error}; `cals track --all` shows the numbers") from error
        raise ConfigError(
            f"{segment.source or 'segment'}: expected a person of the video, found the name {segment.person!r}; say "
            f"who that is with --cast '{segment.person}=1' (the numbers are shown by `cals track --all`)"
        ) from error
    return name


def name_inputs(voices: Sequence[Path], others: Sequence[Path]) -> dict[str, Path]:
    """Return the files of a dub beyond face and mix, by their roles."""
    named = {f"voice {number}": path for number, path in enumerate(dict.fromkeys(voices), 1)}
    return named | {f"segments {number}": path for number, path in enumerate(others, 1)}


def place_speech(
    segments: Sequence[DubSegment], duration_s: Fraction | None, options: GenerateOptions, *, has_mix: bool
) -> list[PlacedSegment]:
    """Place the voices of segments in a video of `duration_s`, or the segments of a mix where none has a voice."""
    if has_mix and all(segment.audio is None for segment in segments):
        return _place_in_mix(segments, duration_s)
    return place_segments(segments, options.fit, duration_s, keep_going=options.keep_going)


def _place_in_mix(segments: Sequence[DubSegment], duration_s: Fraction | None) -> list[PlacedSegment]:
    """Place segments at their own times, since a sound of the whole video has their voices there.

    Raises DataError for segments beyond the end.
    """
    if duration_s is not None:
        check_duration(segments, duration_s)
    return [
        PlacedSegment(
            segment=segment,
            placement=Placement(start_s=segment.start_s, end_s=segment.end_s, voice_s=segment.end_s - segment.start_s),
        )
        for segment in segments
    ]


def build_parts(
    placed: Sequence[PlacedSegment],
    rate_hz: int,
    options: GenerateOptions,
    find_speech: Callable[[Iterator[F32]], SpeechTrack],
    mix: Path | None = None,
) -> list[Part]:
    """Build a part for each person, in the order in which they speak.

    `mix` holds the voices of segments without one.
    """
    by_person: dict[str | int | None, list[PlacedSegment]] = {}
    for item in placed:
        by_person.setdefault(item.segment.person, []).append(item)
    return [
        Part(
            person=options.person if person is None else person,
            wav=find_speech(
                _join_voices(own, rate_hz, options)
                if mix is None or own[0].segment.audio is not None
                else _cut_out(mix, own, rate_hz, options)
            ),
            schedule=Schedule(_build_span(item, options) for item in own),
        )
        for person, own in by_person.items()
    ]


def _build_span(item: PlacedSegment, options: GenerateOptions) -> Span:
    strength = options.strength if item.segment.strength is None else item.segment.strength
    return Span(start_s=item.segment.start_s, end_s=item.end_s, strength=strength)


def _cut_out(mix: Path, placed: Sequence[PlacedSegment], rate_hz: int, options: GenerateOptions) -> Iterator[F32]:
    """Yield `mix` as mono blocks [n] where one person speaks, and silence elsewhere."""
    spans = deque((round(item.segment.start_s * rate_hz), round(item.segment.end_s * rate_hz)) for item in placed)
    position = 0
    for block in mono_blocks(mix, rate_hz, track=options.audio_track, keep_going=options.keep_going, quiet=True):
        result = np.zeros_like(block)
        while spans and spans[0][1] <= position:
            spans.popleft()
        for start, end in spans:
            if start >= position + len(block):
                break
            own = slice(max(start - position, 0), end - position)
            result[own] = block[own]
        yield result
        position += len(block)


def _join_voices(placed: Sequence[PlacedSegment], rate_hz: int, options: GenerateOptions) -> Iterator[F32]:
    """Yield the voices of one person as mono blocks [n], with silence between them."""
    position = 0
    for item in placed:
        start = round(item.placement.start_s * rate_hz)
        for first in range(position, start, rate_hz):
            yield np.zeros(min(rate_hz, start - first), np.float32)
        assert item.segment.audio is not None
        voice = mono_blocks(
            item.segment.audio,
            rate_hz,
            track=item.segment.track,
            keep_going=options.keep_going,
            quiet=True,
            placement=item.placement,
        )
        with closing(voice):  # type: ignore[type-var]  # a generator
            yield from voice
        position = start + item.placement.count_samples(rate_hz)


def open_sound(source: VideoSource, placed: Sequence[PlacedSegment], options: GenerateOptions) -> MixedSound:
    """Open what is heard: the video's own sound, lowered or left out where somebody is dubbed, and the voices."""
    bed = source.path if source.has_audio else None
    gain = BACKGROUND_GAIN if options.background == "keep" else 0.0
    return open_dub_sound(bed, placed, background_gain=gain, keep_going=options.keep_going)


def open_sound_over_background(
    source: VideoSource, audio: Path, audio_s: Fraction, options: GenerateOptions
) -> MixedSound:
    """Open a sound that starts with the first frame, over the video's own."""
    segment = DubSegment(start_s=Fraction(0), end_s=audio_s, audio=audio, track=options.audio_track)
    placement = Placement(start_s=Fraction(0), end_s=audio_s, voice_s=audio_s)
    return open_sound(source, [PlacedSegment(segment=segment, placement=placement)], options)


def check_background(mix: Path | None, options: GenerateOptions) -> None:
    """Raise ConfigError where the video's own sound is to be kept below a finished mix."""
    if mix is not None and options.background == "keep":
        raise ConfigError(
            "background: expected drop where --audio is a finished mix to be heard, found keep; leave it out"
        )


def use_video_length(options: GenerateOptions, source: VideoSource) -> GenerateOptions:
    """Return the options of a dub, whose picture keeps its length; a photo lasts as long as the voices.

    Raises ConfigError for other lengths.
    """
    if options.length not in (GenerateOptions().length, "video"):
        raise ConfigError(
            f"length: expected none for a dub, which is as long as the video, found {options.length}; leave it out"
        )
    return replace(options, length="audio" if source.is_photo else "video")
