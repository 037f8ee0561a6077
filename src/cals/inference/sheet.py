"""Contact sheets of faces, one row per video."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from cals import hub
from cals.errors import ConfigError
from cals.face.align import CROP_SIZE_PX, estimate_pose
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.draw import encode_png, render_contact_sheet
from cals.face.sampling import build_similarity, sample
from cals.inference.frame_tracker import FrameTracker
from cals.inference.person_tracker import build_no_face_error, build_tracker
from cals.inference.report import create_file
from cals.inference.stream import NO_FACE
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.types import U8, ProgressCallback, TrackedFace, invert_affine

COLUMNS = 10
CELL_PX = 216
_EYES = (0.5, 0.36)
"""Position of the middle between the eyes in a cell, in cell sizes."""
_EYE_DISTANCE = 0.31
"""Inter-ocular distance in cell sizes; brows and chin are then inside, the mouth open or not."""
_CELLS_PER_COLUMN = 8
_MAX_NAME_LETTERS = 12


@dataclass(frozen=True, eq=False)
class _Cell:
    time_s: Fraction
    status: str
    """Why no mouth would be rendered in it, empty where one would."""
    picture: U8 = field(repr=False)


class FaceRow:
    """Faces of a stream of frames, evenly spaced over its length, which need not be known beforehand.

    Memory is bounded: when too many cells are kept, every other one is dropped. From then on only every second,
    fourth ... frame is kept.
    """

    def __init__(self, columns: int = COLUMNS) -> None:
        if columns < 1:
            raise ConfigError(f"columns: expected 1 or more, found {columns}; {COLUMNS} suits most screens")
        self.columns = columns
        self._cells: list[_Cell] = []
        self._count, self._spacing = 0, 1
        self._end_s = Fraction(0)

    def add(self, frame: Frame, face: TrackedFace) -> None:
        """Add the next frame and its face, valid or not."""
        if self._count % self._spacing == 0 and len(self._cells) == _CELLS_PER_COLUMN * self.columns:
            self._cells = self._cells[::2]
            self._spacing *= 2
        if self._count % self._spacing == 0:
            self._cells.append(_Cell(frame.time_s, find_status(face), crop_face(frame, face)))
        self._count += 1
        self._end_s = frame.time_s + frame.duration_s

    def build_cells(self, name: str = "") -> tuple[list[U8], list[str]]:
        """Return a picture [CELL_PX CELL_PX 3] and a label for each column; a short video's spare columns are white.

        The pictures are those nearest to the middles of `columns` equal parts of the time.
        """
        middles = [self._end_s * (2 * i + 1) / (2 * self.columns) for i in range(self.columns)]
        nearest = [min(self._cells, key=lambda cell: abs(cell.time_s - middle)) for middle in middles if self._cells]
        chosen = list(dict.fromkeys(nearest))
        labels = [f"{float(cell.time_s):.2f} s {cell.status}".strip() for cell in chosen]
        if labels:
            labels[0] = f"{name[:_MAX_NAME_LETTERS]} {labels[0]}".strip()
        blank = np.full((CELL_PX, CELL_PX, 3), 255, dtype=np.uint8)
        missing = self.columns - len(chosen)
        return [cell.picture for cell in chosen] + [blank] * missing, labels + [""] * missing


def crop_face(frame: Frame, face: TrackedFace) -> U8:
    """Crop the upright face [CELL_PX CELL_PX 3], scaled by the eyes only; without a face, shrink the frame."""
    if not face.valid:
        return _letterbox(frame.rgb())
    eye_distance_px, angle, middle = estimate_pose(face.landmarks)
    eyes = (_EYES[0] * CELL_PX, _EYES[1] * CELL_PX)
    to_frame = build_similarity(eye_distance_px / (_EYE_DISTANCE * CELL_PX), angle, eyes, middle)
    return sample(frame, invert_affine(to_frame), CELL_PX, CELL_PX)


def find_status(face: TrackedFace) -> str:
    """Return the reason why no mouth would be rendered, empty where one would."""
    return face.skip_reason or "" if face.valid else NO_FACE


def _letterbox(rgb: U8) -> U8:
    height, width = rgb.shape[:2]
    zoom = CELL_PX / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    cell = np.full((CELL_PX, CELL_PX, 3), 255, dtype=np.uint8)
    y, x = (CELL_PX - size[1]) // 2, (CELL_PX - size[0]) // 2
    cell[y : y + size[1], x : x + size[0]] = small
    return cell


def check_sheet(path: Path) -> None:
    """Raise ConfigError where a sheet could not be drawn to `path`; call it before any work."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"sheet: expected a name ending in .png, found {path.name}; rename it")


def draw_sheet(rows: Sequence[tuple[str, FaceRow]], path: Path) -> None:
    """Write named rows, all of the same number of columns, as a PNG to `path` (the partial file of `create_file`)."""
    cells = [row.build_cells(name) for name, row in rows]
    pictures = [picture for row_items, _ in cells for picture in row_items]
    labels = [label for _, row_items in cells for label in row_items]
    sheet = render_contact_sheet(pictures, rows[0][1].columns, labels)
    path.write_bytes(encode_png(sheet))


def write_sheet(
    videos: Sequence[Path],
    out: Path,
    *,
    columns: int = COLUMNS,
    person: str = "largest",
    keep_going: bool = False,
    force: bool = False,
    face_models: Path | None = None,
    progress: ProgressCallback | None = None,
) -> None:
    """Write a contact sheet with one row per video, each over its own length.

    Raises NoFaceError, with nothing written, when a video has no frame with the person.
    """
    check_sheet(out)
    if not videos:
        raise ConfigError("sheet: expected one or more videos, found none; name them")
    rows = [(video.stem, FaceRow(columns)) for video in videos]
    with create_file(out, force=force, reserved=videos) as partial:
        detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models)))
        frame_count = 0
        for video, (_, row) in zip(videos, rows, strict=True):
            open_frames = functools.partial(VideoReader, video, keep_going=keep_going)
            tracker = build_tracker(video, person, detector, open_frames)
            frame_tracker = FrameTracker(tracker, CROP_SIZE_PX, covered="keep")
            any_face = False
            with VideoReader(video, keep_going=keep_going) as reader:
                for item in frame_tracker.track(reader):
                    row.add(item.frame, item.face)
                    any_face = any_face or item.face.valid
                    frame_count += 1
                    if progress is not None:
                        progress(frame_count, None)
            if not any_face:
                raise build_no_face_error(video, person, tracker)
        draw_sheet(rows, partial)
