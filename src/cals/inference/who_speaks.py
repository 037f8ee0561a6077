"""Who speaks when in a video: the sound is compared with the lips of everyone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from cals.errors import ConfigError, DataError, MediaError, NoFaceError, SameFaceError
from cals.face.detector import FaceDetector
from cals.face.person import Person, parse_person
from cals.face.search import find_faces
from cals.inference.cast import Cast
from cals.inference.dub_segments import DubSegment
from cals.inference.iteration import tee
from cals.inference.sync_distances import SyncDistances, measure_shifts
from cals.inference.sync_encoders import SyncEncoders
from cals.media.audio import mono_blocks
from cals.media.source import VideoSource
from cals.metrics.offset import MAX_OFFSET
from cals.types import ProgressCallback

F64 = NDArray[np.float64]
MAX_PEOPLE = 8
_COUNT_EVERY_S, _COUNT_UNTIL_S = Fraction(1), Fraction(60)
"""People are counted in one frame a second of the first minute."""
_NEAR_FRAMES = 3
"""The sound may be this far out of step."""
_WINDOW_FRAMES = 63
"""Frames whose distances count at each moment, 2.5 s: of two people of whom both move their lips it tells the right one
in 92 of 100 windows of 2 s, 97 of 3 s (eleven clips of free speech, every pair)."""
_SWITCH_COST = 1.0
"""Confidence, summed over frames, that a change of speaker has to gain."""
_MIN_LEAD = 0.03
"""Lead over the next person below which a speaker counts as uncertain: of windows of 3 s, the wrong one leads by less
in 4 of 5, the right one by more in 6 of 7."""


@dataclass(frozen=True, kw_only=True)
class SpeakerMatch:
    """How well each person's lips fit the sound of a name, a segment or a turn."""

    name: str
    person: int
    confidences: dict[int, float]
    """LSE-C by person; persons who are not seen then are left out."""

    @property
    def lead(self) -> float:
        """Confidence of the chosen person beyond that of the next."""
        others = [value for person, value in self.confidences.items() if person != self.person]
        return self.confidences[self.person] - max(others, default=0.0)

    @property
    def is_sure(self) -> bool:
        return self.lead >= _MIN_LEAD

    def line(self) -> str:
        """Return it as a line of a table."""
        values = ", ".join(f"{person}: {value:.2f}" for person, value in sorted(self.confidences.items()))
        return f"{self.name}: person {self.person}{'' if self.is_sure else ', uncertain'} (LSE-C {values})"


@dataclass(frozen=True, kw_only=True)
class LipDistances:
    """Distances of everyone's lips to the sound of a video, frame by frame."""

    fps: int
    distances: dict[int, F64]
    """[t 31] by person, from 1 on, to the sound shifted by -15..15 frames; NaN without face or sound."""

    def match(self, name: str, intervals: Iterable[tuple[Fraction, Fraction]]) -> SpeakerMatch | None:
        """Find the person whose lips fit the sound in the intervals best; None if nobody is seen in them."""
        intervals = list(intervals)
        confidences = {}
        for person, distances in self.distances.items():
            parts = [distances[round(start_s * self.fps) : round(end_s * self.fps)] for start_s, end_s in intervals]
            rows = np.concatenate(parts)
            rows = rows[~np.isnan(rows).any(axis=1)]
            if len(rows):
                confidences[person] = float(_compute_confidence(rows.mean(axis=0)[None])[0])
        if not confidences:
            return None
        best = max(confidences, key=lambda person: confidences[person])
        return SpeakerMatch(name=name, person=best, confidences=confidences)

    def find_turns(self) -> list[tuple[Fraction, Fraction, int]]:
        """Divide the video into turns: start, end and person; the best path at a cost for each change of speaker."""
        people = list(self.distances)
        scores = np.stack([_smooth_confidence(distances) for distances in self.distances.values()], axis=1)
        path = _find_path(scores, _SWITCH_COST)
        edges = [0, *(np.flatnonzero(np.diff(path)) + 1), len(path)]
        return [
            (Fraction(int(start), self.fps), Fraction(int(end), self.fps), people[path[start]])
            for start, end in pairwise(edges)
        ]


def assign_speakers(
    segments: Sequence[DubSegment], people: Mapping[str, str | int], lips: LipDistances
) -> tuple[list[DubSegment], list[SpeakerMatch]]:
    """Return the segments with persons by number, and how each was found.

    Segments with one name are one person's, those without a name are judged one by one; names in `people`, and persons
    as `parse_person` takes them, stay. Raises DataError for a segment in which nobody is seen.
    """
    groups: dict[str, list[DubSegment]] = {}
    fixed = []
    for segment in segments:
        if not is_unassigned(segment, people):
            fixed.append(segment)
        else:
            interval = f"{float(segment.start_s):.2f}-{float(segment.end_s):.2f} s"
            groups.setdefault(interval if segment.person is None else str(segment.person), []).append(segment)
    assigned, matches = fixed, []
    for name, own in groups.items():
        match = lips.match(name, ((segment.start_s, segment.end_s) for segment in own))
        if match is None:
            raise DataError(
                f"{own[0].source or 'segments'}: expected a face whose lips can be compared, found none while {name} "
                "speaks; name the person"
            )
        matches.append(match)
        assigned += [replace(segment, person=match.person) for segment in own]
    return sorted(assigned, key=lambda segment: (segment.start_s, segment.end_s)), matches


def is_unassigned(segment: DubSegment, people: Mapping[str, str | int]) -> bool:
    """Return whether the speaker of a segment has to be found."""
    if segment.person is None:
        return True
    try:
        parse_person(str(segment.person))
    except ConfigError:
        return segment.person not in people
    return False


def build_turn_segments(lips: LipDistances, duration_s: Fraction | None) -> tuple[list[DubSegment], list[SpeakerMatch]]:
    """Build a segment without a voice for each turn of the video's conversation, and how its speaker was found.

    Turns count in frames of the encoders, so the last one may have to be cut at the end of the video, `duration_s`.
    """
    segments, matches = [], []
    for start_s, turn_end_s, person in lips.find_turns():
        end_s = turn_end_s if duration_s is None else min(turn_end_s, duration_s)
        if end_s <= start_s:
            break
        segments.append(DubSegment(start_s=start_s, end_s=end_s, person=person, source="--who-speaks auto"))
        match = lips.match(f"{float(start_s):.2f}-{float(end_s):.2f} s", [(start_s, end_s)])
        if match is not None:
            matches.append(replace(match, person=person) if person in match.confidences else match)
    return segments, matches


def count_people(source: VideoSource, detector: FaceDetector) -> int:
    """Count the people that numbers name, in the first minute; background faces are left out."""
    most, next_s = 0, Fraction(0)
    with source.open(quiet=True) as frames:
        for frame in frames:
            if frame.time_s > _COUNT_UNTIL_S:
                break
            if frame.time_s >= next_s:
                next_s = frame.time_s + _COUNT_EVERY_S
                boxes = [fit.box for fit in find_faces(detector, frame, thorough=True)]
                numbers = range(1, MAX_PEOPLE + 1)
                most = max(most, sum(Person(kind="number", number=n).choose(boxes) is not None for n in numbers))
    return most


def measure_lip_distances(
    source: VideoSource, encoders: SyncEncoders, detector: FaceDetector, progress: ProgressCallback | None = None
) -> LipDistances:
    """Compare the lips of everyone with the video's own sound, in one pass.

    Raises MediaError for a video without sound or picture, NoFaceError without a face.
    """
    if source.is_photo or not source.has_audio:
        raise MediaError(
            f"{source.path}: expected a video with the sound of its speakers, by which to tell who speaks, found none; "
            "name the persons instead"
        )
    count = count_people(source, detector)
    if not count:
        raise NoFaceError(f"{source.path}: expected people, found no face in the first minute; name the persons")
    while True:
        try:
            return _measure(source, encoders, detector, count, progress)
        except SameFaceError:  # the last number means the same person as another one
            if count == 1:
                raise
            count -= 1


def _measure(
    source: VideoSource, encoders: SyncEncoders, detector: FaceDetector, count: int, progress: ProgressCallback | None
) -> LipDistances:
    cast = Cast(source, range(1, count + 1), detector, encoders.crop_px, None)
    latest: Sequence[SyncDistances] = ()
    with source.open() as frames:
        streams = []
        for number, items in enumerate(tee(cast.track(frames), count)):
            wav = mono_blocks(source.path, encoders.sample_rate_hz, keep_going=source.keep_going, quiet=True)
            streams.append(measure_shifts(map(itemgetter(number), items), wav, encoders))
        for latest in zip(*streams, strict=True):
            if progress is not None:
                progress(latest[0].frames, source.frame_count_estimate)
    if not latest or not latest[0].frames:
        raise MediaError(
            f"{source.path}: expected {encoders.frames} frames or more, by which to tell who speaks, found fewer; name "
            "the persons instead"
        )
    distances = {}
    for person, shifts in enumerate(latest, 1):
        distances[person] = np.full((shifts.frames, 2 * MAX_OFFSET + 1), np.nan)
        if shifts.distances:
            distances[person][shifts.frame_indices] = np.array(shifts.distances)
    return LipDistances(fps=encoders.fps, distances=distances)


def _compute_confidence(distances: F64) -> F64:
    """Compute LSE-C [n] of mean distances [n 31], with the sound in step or nearly so."""
    near = distances[:, MAX_OFFSET - _NEAR_FRAMES : MAX_OFFSET + _NEAR_FRAMES + 1]
    return np.asarray(np.median(distances, axis=1) - near.min(axis=1))


def _smooth_confidence(distances: F64) -> F64:
    """Compute the confidence [t] around each frame; 0 where there are no distances near."""
    valid = np.asarray(~np.isnan(distances).any(axis=1))
    window = np.ones(min(_WINDOW_FRAMES, len(valid)))
    counts = np.convolve(valid, window, mode="same")
    filled = np.where(valid[:, None], distances, 0.0)
    sums = np.stack([np.convolve(column, window, mode="same") for column in filled.T], axis=1)
    return np.where(counts > 0, _compute_confidence(sums / np.maximum(counts, 1)[:, None]), 0.0)


def _find_path(scores: F64, switch_cost: float) -> NDArray[np.int64]:
    """Find the path [t] over columns of `scores` [t n] with the highest sum, less `switch_cost` for each change."""
    total, previous = scores[0].copy(), np.zeros(scores.shape, np.int64)
    for t in range(1, len(scores)):
        best = int(total.argmax())
        stays = total >= total[best] - switch_cost
        previous[t] = np.where(stays, np.arange(len(total)), best)
        total = np.where(stays, total, total[best] - switch_cost) + scores[t]
    path = np.zeros(len(scores), np.int64)
    path[-1] = int(total.argmax())
    for t in range(len(scores) - 1, 0, -1):
        path[t - 1] = previous[t, path[t]]
    return path
