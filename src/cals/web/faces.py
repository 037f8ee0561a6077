"""The first picture with a face, and every face in it: who can be chosen on the page."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path

import cv2

from cals.errors import NoFaceError
from cals.face.detector import FaceDetector
from cals.face.search import find_faces
from cals.media.reader import VideoReader
from cals.types import U8, Box

MAX_FACES = 8
_STEP_S, _SEARCH_S = Fraction(1, 2), Fraction(30)
"""Pictures are searched so often, and so far into the video."""
_MAX_STILL_PX = 1280


@dataclass(frozen=True, kw_only=True)
class FirstFaces:
    """A video or photo, with the first picture that shows somebody."""

    path: Path
    is_photo: bool
    duration_s: Fraction | None
    """Length of a video; None for photos, and where the file states none."""
    time_s: Fraction
    """When the picture is shown."""
    size: tuple[int, int]
    """Width and height of the picture in pixels."""
    boxes: tuple[Box, ...]
    """Faces from left to right, at least one."""
    still: Path
    """The picture as a JPEG file."""

    @property
    def names(self) -> list[str]:
        """What each face is called on the page."""
        return [f"Face {number}" for number in range(1, len(self.boxes) + 1)]

    def get_person(self, name: str) -> str:
        """Return the face of a name as `GenerateOptions.person` takes it."""
        box = self.boxes[self.names.index(name)]
        if len(self.boxes) == 1:
            return "largest"
        time_s = floor(1000 * self.time_s) / 1000  # not after the picture
        return f"{(box.x0 + box.x1) / 2:.0f},{(box.y0 + box.y1) / 2:.0f}@{time_s:g}"


def find_first_faces(path: Path, detector: FaceDetector, folder: Path) -> FirstFaces:
    """Find the first picture with a face and write it to `folder`; NoFaceError where half a minute has none.

    Raises MediaError for unreadable files; a damaged one is read as far as that.
    """
    next_s = Fraction(0)
    with VideoReader(path, keep_going=True, quiet=True) as reader:
        for frame in reader:
            if frame.time_s > _SEARCH_S:
                break
            if frame.time_s < next_s:
                continue
            next_s = frame.time_s + _STEP_S
            fits = find_faces(detector, frame, thorough=True)
            if fits:
                boxes = sorted((fit.box.clip(frame.width, frame.height) for fit in fits), key=lambda box: box.x0)
                return FirstFaces(
                    path=path,
                    is_photo=reader.format.is_image,
                    duration_s=None if reader.format.is_image else reader.duration_s,
                    time_s=frame.time_s,
                    size=(frame.width, frame.height),
                    boxes=tuple(boxes[:MAX_FACES]),
                    still=_write_still(frame.rgb(), folder / "first.jpg"),
                )
    raise NoFaceError(
        f"{path}: expected a face, found none; use a picture with a whole face, seen from the front and 30 pixels or "
        "larger"
    )


def _write_still(rgb: U8, path: Path) -> Path:
    zoom = min(1.0, _MAX_STILL_PX / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * zoom)), max(1, round(rgb.shape[0] * zoom)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if zoom < 1 else rgb
    path.write_bytes(cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes())
    return path
