"""The tracker of one person in a video, shared by all commands that track a face."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path

from cals.errors import ConfigError, NoFaceError
from cals.face.detector import FaceDetector
from cals.face.person import parse_person
from cals.face.trace import trace_back
from cals.face.tracker import FaceTracker
from cals.media.frame import Frame

OpenFrames = Callable[[], AbstractContextManager[Iterable[Frame]]]


def build_tracker(video: Path, who: str | int, detector: FaceDetector, open_frames: OpenFrames) -> FaceTracker:
    """Build a tracker for the person that `who` names (see `parse_person`) in the frames that `open_frames` opens.

    A person named at a later time is first traced back to the frame where they appear.
    """
    person = parse_person(str(who))
    if person.kind == "point" and person.time_s:
        end_s = Fraction(0)

        def iterate_frames(reader: Iterable[Frame]) -> Iterator[tuple[Frame, Fraction]]:
            nonlocal end_s
            for frame in reader:
                end_s = frame.time_s + frame.duration_s
                yield frame, frame.time_s

        with open_frames() as reader:
            start_person = trace_back(detector, iterate_frames(reader), person)
        if end_s <= person.time_s:
            raise ConfigError(
                f"person: expected a time within {video} ({float(end_s):.2f} s), found {float(person.time_s):g} s; "
                "name a moment when the person is in the picture"
            )
        person = start_person
    return FaceTracker(detector, person)


def build_no_face_error(video: Path, who: str | int, tracker: FaceTracker) -> NoFaceError:
    """Build the error for a video in which no frame shows the person, with or without other faces."""
    if tracker.max_faces_found:
        return NoFaceError(
            f"{video}: expected the person '{who}', found at most {tracker.max_faces_found} face(s) in a "
            "picture and never that one; choose another --person"
        )
    return NoFaceError(
        f"{video}: expected a face, found none in any frame; use a picture with a whole face, seen from "
        "the front and 30 pixels or larger"
    )
