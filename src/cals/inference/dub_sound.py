"""The voices of a dub in their places, and the sound of the whole."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from cals.errors import DataError
from cals.inference.dub_segments import DubSegment, check_duration
from cals.media.audio import probe
from cals.media.mix import MixedSound, PlacedVoice
from cals.media.placement import Placement, plan_placement
from cals.media.sound import AudioSource
from cals.options import FitPolicy

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlacedSegment:
    """A segment with its voice in its place."""

    segment: DubSegment
    placement: Placement

    @property
    def end_s(self) -> Fraction:
        """When it ends: later than the segment where its voice goes on."""
        return max(self.segment.end_s, self.placement.end_s)

    def line(self) -> str:
        """Return what is done with the voice, in one line."""
        place, tempo = self.placement, float(self.placement.tempo)
        changes = [f"played {tempo:.2f} times as fast"] if tempo != 1 else []
        if place.end_s > self.segment.end_s:
            changes.append(f"going on until {float(place.end_s):.3f} s")
        if place.lost_s > 0:
            changes.append(f"its last {float(place.lost_s):.3f} s cut")
        start_s, end_s = float(self.segment.start_s), float(self.segment.end_s)
        return (
            f"{self.segment.source}: {start_s:.3f} to {end_s:.3f} s, a voice of {float(place.voice_s):.3f} s, "
            f"{', '.join(changes) or 'as it is'}"
        )

    def document(self) -> dict[str, Any]:
        """Return the same for JSON."""
        segment, place = self.segment, self.placement
        return {
            "source": segment.source,
            "person": segment.person,
            "start_s": float(segment.start_s),
            "end_s": float(segment.end_s),
            "audio": None if segment.audio is None else str(segment.audio),
            "voice_s": float(place.voice_s),
            "voice_end_s": float(place.end_s),
            "tempo": float(place.tempo),
            "lost_s": float(place.lost_s),
        }


def place_segments(
    segments: Sequence[DubSegment],
    policy: FitPolicy,
    duration_s: Fraction | None,
    *,
    keep_going: bool = False,
) -> list[PlacedSegment]:
    """Place the voice of each segment in a video of `duration_s`, None for no end; the segments are sorted by start.

    A voice that has to be cut although `policy` is another one is logged. Raises DataError for segments without a voice
    or beyond the end of the video, MediaError for voices that cannot be read.
    """
    if duration_s is not None:
        check_duration(segments, duration_s)
    lengths_s = [_measure_voice(segment, keep_going=keep_going) for segment in segments]
    placed: list[PlacedSegment] = []
    next_start_of: dict[str | int | None, Fraction] = {}
    for segment, voice_s in zip(reversed(segments), reversed(lengths_s), strict=True):
        limit_s = next_start_of.get(segment.person, duration_s)
        placement = plan_placement(voice_s, segment.start_s, segment.end_s, segment.fit or policy, limit_s=limit_s)
        placed.append(PlacedSegment(segment=segment, placement=placement))
        next_start_of[segment.person] = segment.start_s
    placed.reverse()
    for item in placed:
        if item.placement.lost_s > 0:
            _log.log(logging.INFO if policy == "cut" else logging.WARNING, "%s", item.line())
    return placed


def _measure_voice(segment: DubSegment, *, keep_going: bool) -> Fraction:
    if segment.audio is None:
        raise DataError(
            f"{segment.source}: expected a voice file for the segment, found none; name one, or the folder that has it"
        )
    return probe(segment.audio, track=segment.track, keep_going=keep_going).duration_s


def open_dub_sound(
    bed: str | Path | None,
    placed: Sequence[PlacedSegment],
    *,
    background_gain: float = 0.0,
    track: str | int | None = None,
    keep_going: bool = False,
) -> MixedSound:
    """Open the sound of a dub: that of the file `bed`, at `background_gain` while others speak, and the voices.

    Without `bed` there are only the voices. `track`: one of several of `bed`, see `select_sound_track`.
    """
    voices = [
        PlacedVoice(audio=item.segment.audio, placement=item.placement, track=item.segment.track)
        for item in placed
        if item.segment.audio
    ]
    source = None if bed is None else AudioSource(bed, track=track, keep_going=keep_going)
    lowered = [(item.segment.start_s, item.end_s) for item in placed]
    try:
        return MixedSound(source, voices, lowered=lowered, background_gain=background_gain, keep_going=keep_going)
    except BaseException:
        if source is not None:
            source.close()
        raise
