"""All people of a video: the number, times and place of each, as JSON and as a sheet."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from math import floor
from pathlib import Path
from typing import Any

import numpy as np

from cals import hub
from cals.errors import NoFaceError
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.face.draw import encode_png
from cals.face.draw_people import draw_names, draw_person_row, get_colour
from cals.face.people import PeopleTracker, count_faces, is_same_box
from cals.face.person import Person
from cals.inference.even_sampling import EvenSampler
from cals.inference.report import create_file
from cals.inference.sheet import check_sheet, crop_face
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.types import U8, Box, ProgressCallback, TrackedFace

COLUMNS = 6
_SAME_SHARE = 0.5
"""Two are the same person if their faces are the same in more than this share of the frames of one of them."""
_SHORT_GAP_S = Fraction(1, 5)
"""Shorter absences are left out of the text."""
_MAX_INTERVALS = 6


@dataclass
class PersonSummary:
    """What is known of one person."""

    number: int | None
    """What `--person` takes; None for people whom no number stands for."""
    frames: int = 0
    """Frames in which the face is found."""
    intervals_s: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    """Times when it is visible, absences of less than a fifth of a second left out."""
    others_s: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    """Times when `--person` follows somebody else: after a cut to a shot without them."""
    point: str = ""
    """The same person as `x,y@seconds`, in the first frame with them."""
    same_as: str | None = None
    """The name of another one who is the same person."""
    thumbnails: EvenSampler[tuple[str, U8]] = field(default_factory=lambda: EvenSampler(COLUMNS), repr=False)

    @property
    def name(self) -> str:
        """The number, for people without one the point."""
        return self.point if self.number is None else str(self.number)

    def add(self, frame: Frame, face: TrackedFace) -> None:
        """Add a frame with the face."""
        assert face.box is not None
        if not self.frames:
            x, y = (face.box.x0 + face.box.x1) / 2, (face.box.y0 + face.box.y1) / 2
            self.point = f"{x:.0f},{y:.0f}@{floor(1000 * frame.time_s) / 1000:g}"  # not after the frame
        self.thumbnails.offer(
            self.frames, lambda: (f"{float(frame.time_s):.2f} s {face.skip_reason or ''}", crop_face(frame, face))
        )
        self.frames += 1
        _extend(self.intervals_s, frame)

    def add_other(self, frame: Frame) -> None:
        """Add a frame with the face of somebody else."""
        _extend(self.others_s, frame)

    def line(self) -> str:
        """Return name and times in one line."""
        if self.same_as is not None:
            return f"{self.name}: the same as {self.same_as}"
        also = "" if self.number is None else f", or {self.point}"
        others = f"; somebody else at {_format_intervals(self.others_s)}" if self.others_s else ""
        return f"{self.name}{also}: {_format_intervals(self.intervals_s)}{others}"

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "number": self.number,
            "same_as": self.same_as,
            "point": self.point,
            "frames": self.frames,
            "visible_s": [[float(start), float(end)] for start, end in self.intervals_s],
            "others_s": [[float(start), float(end)] for start, end in self.others_s],
        }


def _extend(intervals_s: list[tuple[Fraction, Fraction]], frame: Frame) -> None:
    """Add the time of a frame to the last interval, or as one of its own after a gap that is not short."""
    start_s, end_s = frame.time_s, frame.time_s + frame.duration_s
    if intervals_s and start_s - intervals_s[-1][1] < _SHORT_GAP_S:
        start_s = intervals_s.pop()[0]
    intervals_s.append((start_s, end_s))


def _format_intervals(intervals_s: Sequence[tuple[Fraction, Fraction]]) -> str:
    shown = [f"{float(start):.2f}-{float(end):.2f}" for start, end in intervals_s[:_MAX_INTERVALS]]
    more = len(intervals_s) - len(shown)
    return f"{', '.join(shown)} s{f' and {more} more times' if more else ''}"


def track_people(
    video: Path,
    people_file: Path,
    sheet_file: Path,
    *,
    keep_going: bool = False,
    force: bool = False,
    face_models: Path | None = None,
    progress: ProgressCallback | None = None,
) -> list[PersonSummary]:
    """Write the number, times and place of each person (JSON), and a sheet with their faces; return the same.

    Raises NoFaceError, with nothing written, when no frame has a face.
    """
    check_sheet(sheet_file)
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models)))
    tracker = PeopleTracker(detector, _count_people(video, detector, keep_going=keep_going, progress=progress))
    people: list[PersonSummary] = []
    shared: Counter[tuple[int, int]] = Counter()
    best: dict[int, Box] = {}
    end_s = Fraction(0)
    with (
        VideoReader(video, keep_going=keep_going) as reader,
        create_file(people_file, force=force, reserved=(video, sheet_file)) as partial_people,
        create_file(sheet_file, force=force, reserved=(video,)) as partial_sheet,
    ):
        for frame in reader:
            faces = tracker.update(frame, frame.time_s, frame.index)
            people += [PersonSummary(_get_number(person)) for person in tracker.people[len(people) :]]
            boxes = _drop_same_boxes(_add_faces(people, tracker, frame, faces), shared)
            if len(boxes) > len(best):
                best, picture = boxes, frame.rgb()
            end_s = frame.time_s + frame.duration_s
            if progress is not None:
                progress(*_compute_progress(reader, frame, is_second=True))
        if not best:
            raise NoFaceError(f"{video}: expected people, found no face in any frame; use a video that shows some")
        _find_same(people, shared)
        found = [person for person in people if person.frames]
        document = {"video": video.name, "people": [person.document() for person in found]}
        partial_people.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        sheet = _draw_sheet(people, picture, best, end_s)
        partial_sheet.write_bytes(encode_png(sheet))
    return found


def _count_people(video: Path, detector: FaceDetector, *, keep_going: bool, progress: ProgressCallback | None) -> int:
    """Return the highest number to look for, at least 1."""
    with VideoReader(video, keep_going=keep_going, quiet=True) as reader:

        def iterate_frames() -> Iterator[tuple[Frame, Fraction]]:
            for frame in reader:
                yield frame, frame.time_s
                if progress is not None:
                    progress(*_compute_progress(reader, frame, is_second=False))

        return max(1, count_faces(detector, iterate_frames()))


def _compute_progress(reader: VideoReader, frame: Frame, *, is_second: bool) -> tuple[int, int | None]:
    """Return the frames done and their total, of two passes."""
    total = reader.frame_count_estimate
    return frame.index + 1 + (total or 0) * is_second, None if total is None else 2 * total


def _get_number(person: Person) -> int | None:
    return person.number if person.kind == "number" else None


def _add_faces(
    people: Sequence[PersonSummary], tracker: PeopleTracker, frame: Frame, faces: Sequence[TrackedFace]
) -> dict[int, Box]:
    """Add the faces of a frame to the summaries; return the boxes by index, without those of other people."""
    boxes = {}
    for index, (person, face) in enumerate(zip(people, faces, strict=True)):
        if face.box is not None and tracker.is_other_person(index):
            person.add_other(frame)
        elif face.box is not None:
            person.add(frame, face)
            boxes[index] = face.box
    return boxes


def _drop_same_boxes(boxes: dict[int, Box], shared: Counter[tuple[int, int]]) -> dict[int, Box]:
    """Return the boxes by index, without those that an earlier one has as well; count each pair in `shared`."""
    kept = dict(boxes)
    for (index, box), (other, other_box) in combinations(boxes.items(), 2):
        if is_same_box(box, other_box):
            shared[index, other] += 1
            kept.pop(other, None)
    return kept


def _find_same(people: Sequence[PersonSummary], shared: Counter[tuple[int, int]]) -> None:
    """Set `same_as` of people who are the same as an earlier one most of the time."""
    for (index, person), (other_index, other) in combinations(enumerate(people), 2):
        frames = shared[index, other_index]
        if other.same_as is None and frames > _SAME_SHARE * min(person.frames, other.frames):
            other.same_as = person.same_as or person.name


def _draw_sheet(people: Sequence[PersonSummary], picture: U8, boxes: dict[int, Box], end_s: Fraction) -> U8:
    """Draw the frame with most people, with their names, and a row of faces for each."""
    shown = {index: person for index, person in enumerate(people) if person.frames and person.same_as is None}
    colours = {index: get_colour(rank) for rank, index in enumerate(shown)}
    rows = []
    for index, person in shown.items():
        thumbnails = list(person.thumbnails.items.values())
        step = -(-len(thumbnails) // COLUMNS)
        text = f"--person {person.line()}"
        rows.append(
            draw_person_row(text, colours[index], person.intervals_s, end_s, thumbnails[::step], columns=COLUMNS)
        )
    marks = [(person.name, boxes[index], colours[index]) for index, person in shown.items() if index in boxes]
    return np.vstack([draw_names(picture, marks, rows[0].shape[1]), *rows])
