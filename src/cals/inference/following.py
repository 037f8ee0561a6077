"""One person followed through a video, as `generate` and `track` both do it."""

from pathlib import Path

from cals.errors import NoFaceError
from cals.face.detector import FaceDetector
from cals.face.person import parse_person
from cals.face.trace import trace_back
from cals.face.tracker import FaceTracker
from cals.media.reader import VideoReader


def follow(video: Path, who: str, detector: FaceDetector, *, keep_going: bool) -> FaceTracker:
    """A tracker for the person that `who` names (see `parse_person`).

    Someone pointed at later than the first frame is first followed back to where they appear.
    """
    person = parse_person(who)
    if person.kind == "point" and person.time_s:
        with VideoReader(video, keep_going=keep_going) as reader:
            person = trace_back(detector, ((frame, frame.time_s) for frame in reader), person)
    return FaceTracker(detector, person)


def no_face(video: Path, who: str, tracker: FaceTracker) -> NoFaceError:
    """The error when a whole video has no frame with the person meant, whether others were there or not."""
    if tracker.most_seen:
        return NoFaceError(
            f"{video}: expected the person {who!r}, found at most {tracker.most_seen} face(s) in a picture and never "
            "that one; choose another --person"
        )
    return NoFaceError(
        f"{video}: expected a face, found none in any frame; use a picture with a face that is upright, seen from "
        "the front and 30 pixels or larger"
    )
