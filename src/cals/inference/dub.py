"""A dub: voices of one or more persons at their places in a video, as what drives the mouths and what is heard."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from cals.errors import ConfigError, DataError
from cals.face.person import parse_person
from cals.inference.dub_segments import DubSegment, check_duration
from cals.inference.pipeline import Part
from cals.inference.schedule import Schedule, Span
from cals.inference.subtitles import parse_time
from cals.media.audio import mono_blocks, probe
from cals.media.mix import MixedSound, PlacedVoice
from cals.media.placement import Placement, plan_placement
from cals.media.sound import AudioSource
from cals.media.source import VideoSource
from cals.options import GenerateOptions
from cals.types import F32

_log = logging.getLogger(__name__)

BACKGROUND_GAIN = 0.25
"""Gain of the video's own sound below a voice, 12 dB down."""
_NOTED_S = Fraction(1, 20)
"""A voice that loses less than this at its end is not worth a warning."""


@dataclass(frozen=True, kw_only=True)
class PlacedSegment:
    """A segment whose speaker is known and whose voice has its place."""

    segment: DubSegment
    person: str
    audio: Path
    placement: Placement

    @property
    def start_s(self) -> Fraction:
        return self.segment.start_s

    @property
    def end_s(self) -> Fraction:
        """End of the segment, or of a voice that spills over it."""
        return max(self.segment.end_s, self.placement.end_s)

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {
            "start_s": float(self.start_s),
            "end_s": float(self.end_s),
            "person": self.person,
            "audio": str(self.audio),
            "voice_s": round(float(self.placement.voice_s), 3),
            "tempo": round(float(self.placement.tempo), 3),
            "lost_s": round(max(float(self.placement.lost_s), 0.0), 3),
        }


def build_full_segments(speeches: Sequence[tuple[str | int, Path]]) -> list[DubSegment]:
    """Build a segment for each person and sound, from the first frame to the end of the sound."""
    return [
        DubSegment(start_s=Fraction(0), end_s=probe(audio).duration_s, audio=Path(audio), person=person)
        for person, audio in speeches
    ]


def build_part_segment(face: Path, voice: Path, start: str | None, end: str | None) -> DubSegment:
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
        voice_s = probe(voice).duration_s
        video_s = VideoSource(face).duration_s
        end_s = start_s + voice_s
        if video_s is not None and start_s < video_s:
            end_s = min(end_s, video_s)
    return DubSegment(start_s=start_s, end_s=end_s, audio=voice, source="--from and --to")


def place_segments(
    segments: Sequence[DubSegment],
    source: VideoSource,
    options: GenerateOptions,
    people: Mapping[str, str | int],
) -> list[PlacedSegment]:
    """Find the speaker of each segment and place its voice; what is changed in a voice is logged.

    `people` are the persons behind the names in the segments. Raises ConfigError for unknown names, DataError for times
    beyond the video's end and for segments of one person that overlap, MediaError for unreadable voices.
    """
    if not segments:
        raise ConfigError("segments: expected one or more, found none; name a person and a sound, or a file")
    end_s = None if source.is_photo else source.duration_s
    if end_s is not None:
        check_duration(segments, end_s)
    placed: list[PlacedSegment] = []
    by_person: dict[str, list[DubSegment]] = {}
    for segment in sorted(segments, key=lambda segment: segment.start_s):
        person = _resolve_person(segment, people, options.person)
        by_person.setdefault(person, []).append(segment)
    for person, own in by_person.items():
        for segment, following in zip(own, [*own[1:], None], strict=True):
            limit_s = end_s if following is None else following.start_s
            if limit_s is not None and limit_s < segment.end_s - Fraction(1, 1000):
                raise DataError(
                    f"{segment.source or 'segment'}: expected an end before the next one of {person} starts "
                    f"({float(limit_s):.3f} s), found {float(segment.end_s):.3f} s; move one of them"
                )
            placed.append(_place(segment, person, limit_s, options))
    return sorted(placed, key=lambda item: item.start_s)


def _resolve_person(segment: DubSegment, people: Mapping[str, str | int], default: str | int) -> str:
    if segment.person is None:
        return str(default)
    name = str(segment.person)
    if name in people:
        return str(people[name])
    try:
        parse_person(name)
    except ConfigError as error:
        raise ConfigError(
            f"{segment.source or 'segment'}: expected a person of the video, found the name {segment.person!r}; say "
            f"who that is with --cast '{segment.person}=1' (the numbers are shown by `cals track --all`)"
        ) from error
    return name


def _place(segment: DubSegment, person: str, limit_s: Fraction | None, options: GenerateOptions) -> PlacedSegment:
    name = segment.source or f"segment at {float(segment.start_s):.2f} s"
    if segment.audio is None:
        raise ConfigError(f"{name}: expected a voice file, found none; add one, or name a folder with --audio-dir")
    voice_s = probe(segment.audio, keep_going=options.keep_going).duration_s
    placement = plan_placement(voice_s, segment.start_s, segment.end_s, options.fit, limit_s=limit_s)
    place_s = segment.end_s - segment.start_s
    if placement.tempo != 1:
        _log.warning(
            "%s: a voice of %.2f s in %.2f s is played %.2f times as fast",
            name,
            voice_s,
            place_s,
            placement.tempo,
        )
    if placement.end_s > segment.end_s:
        _log.warning("%s: its voice goes on %.2f s after its end", name, placement.end_s - segment.end_s)
    if placement.lost_s > _NOTED_S:
        _log.warning("%s: the last %.2f s of its voice have no place and are cut", name, placement.lost_s)
    return PlacedSegment(segment=segment, person=person, audio=segment.audio, placement=placement)


def build_parts(placed: Sequence[PlacedSegment], rate_hz: int, options: GenerateOptions) -> list[Part]:
    """Build a part for each person, in the order in which they speak."""
    by_person: dict[str, list[PlacedSegment]] = {}
    for item in placed:
        by_person.setdefault(item.person, []).append(item)
    return [
        Part(
            person=person,
            wav=_join_voices(own, rate_hz, keep_going=options.keep_going),
            schedule=Schedule(
                Span(
                    start_s=item.start_s,
                    end_s=item.end_s,
                    strength=options.strength if item.segment.strength is None else item.segment.strength,
                )
                for item in own
            ),
        )
        for person, own in by_person.items()
    ]


def _join_voices(placed: Sequence[PlacedSegment], rate_hz: int, *, keep_going: bool) -> Iterator[F32]:
    """Yield the voices of one person as mono blocks [n], with silence between them."""
    position = 0
    for item in placed:
        start = round(item.placement.start_s * rate_hz)
        for first in range(position, start, rate_hz):
            yield np.zeros(min(rate_hz, start - first), np.float32)
        voice = mono_blocks(item.audio, rate_hz, keep_going=keep_going, quiet=True, placement=item.placement)
        with closing(voice):  # type: ignore[type-var]  # a generator
            yield from voice
        position = start + item.placement.count_samples(rate_hz)


def build_sound(source: VideoSource, placed: Sequence[PlacedSegment], options: GenerateOptions) -> MixedSound:
    """Build what is heard: the video's own sound, lowered or left out where a person is dubbed, and the voices."""
    bed = AudioSource(source.path, keep_going=options.keep_going) if source.has_audio else None
    try:
        return MixedSound(
            bed,
            [PlacedVoice(audio=item.audio, placement=item.placement) for item in placed],
            lowered=[(item.start_s, item.end_s) for item in placed],
            background_gain=BACKGROUND_GAIN if options.background == "keep" else 0.0,
            keep_going=options.keep_going,
        )
    except BaseException:
        if bed is not None:
            bed.close()
        raise


def build_background(source: VideoSource, audio: Path, audio_s: Fraction, options: GenerateOptions) -> MixedSound:
    """Build a speech from the first frame on over the video's own sound."""
    segment = DubSegment(start_s=Fraction(0), end_s=audio_s, audio=audio)
    placement = Placement(start_s=Fraction(0), end_s=audio_s, voice_s=audio_s)
    item = PlacedSegment(segment=segment, person=str(options.person), audio=audio, placement=placement)
    return build_sound(source, [item], options)


def use_video_length(options: GenerateOptions, source: VideoSource) -> GenerateOptions:
    """Return the options of a dub, whose picture keeps its length; a photo lasts as long as the voices."""
    return replace(options, length="audio" if source.is_photo else "video")
