"""The pictures of docs/faces.md: mesh, crop, mask and pastes on any faces, to be looked at.

    python benchmarks/face_sheets.py --out docs/faces.png examples/astronaut.jpg CLIP.mp4 ...

A row a file: the tracked mesh; the aligned crop; the mask over it; the crop pasted back unchanged; another frame's
mouth pasted (of a photo: its own crop, mirrored), made 25 levels brighter first to give the colour match work to do.
"""

import argparse
import dataclasses
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cals import hub
from cals.face.align import Aligner, sample_crop
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.draw import draw_track, render_contact_sheet
from cals.face.mask import build_lower_face_mask
from cals.face.paste import paste
from cals.face.tracker import FaceTracker
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.types import U8, Box, CropTransform, TrackedFace

CELL_PX = 192


def window_matrix(face: TrackedFace) -> NDArray[np.float64]:
    """[2 3] from the frame to a cell that shows the square around the face."""
    assert face.box is not None
    middle = np.array([face.box.x0 + face.box.x1, face.box.y0 + face.box.y1]) / 2
    half = 0.75 * max(face.box.width, face.box.height)
    scale = CELL_PX / (2 * half)
    return np.array([[scale, 0, -scale * (middle[0] - half)], [0, scale, -scale * (middle[1] - half)]])


def window(rgb: U8, face: TrackedFace) -> U8:
    """The square around a face, as a cell of the sheet."""
    matrix = window_matrix(face)
    factor = max(1, round(1 / matrix[0, 0]))  # big faces are averaged down first
    small = cv2.resize(rgb, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    matrix[:, :2] *= factor
    return cv2.warpAffine(small, matrix, (CELL_PX, CELL_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def meshed(rgb: U8, face: TrackedFace) -> U8:
    """The same square with the mesh drawn on it, at the same thickness for every size of face."""
    matrix, points = window_matrix(face), face.landmarks.copy()
    points[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.floor(points[:, :2].min(axis=0)), np.ceil(points[:, :2].max(axis=0))
    box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    return draw_track(window(rgb, face), dataclasses.replace(face, landmarks=points, box=box))


def faces_of(path: Path) -> list[tuple[Frame, TrackedFace, CropTransform]]:
    tracker, aligner = FaceTracker(BlazeFaceMesh(FaceModels(*hub.read_face_models()))), Aligner()
    found = []
    with VideoReader(path) as reader:
        for frame in reader:
            face = tracker.update(frame, frame.time_s, frame.index)
            if face.valid:
                found.append((frame, face, aligner.update(face)))
    return found


def openness(face: TrackedFace) -> float:
    return float(np.hypot(*(face.landmarks[13, :2] - face.landmarks[14, :2])))


def row(path: Path) -> list[U8]:
    """Five cells of one file; the mouth that is pasted is the widest open one of the clip."""
    found = sorted(faces_of(path), key=lambda item: openness(item[1]))
    frame, face, transform = found[len(found) // 4]
    other_frame, _, other_transform = found[-1]
    rgb, own = frame.rgb(), sample_crop(frame, transform)
    mask = build_lower_face_mask(transform.map_landmarks(face.landmarks), transform, frame.width, frame.height)
    other = sample_crop(other_frame, other_transform) if len(found) > 1 else np.ascontiguousarray(own[:, ::-1])
    brighter = np.clip(other.astype(int) + 25, 0, 255).astype(np.uint8)
    tint = (own * (1 - 0.5 * mask[..., None]) + np.array([0, 160, 255]) * 0.5 * mask[..., None]).astype(np.uint8)
    unchanged = frame.with_patch(paste(frame, transform, own, own, mask)).rgb()
    changed = frame.with_patch(paste(frame, transform, own, brighter, mask)).rgb()
    cells = [meshed(rgb, face), *(cv2.resize(image, (CELL_PX, CELL_PX)) for image in (own, tint))]
    return [*cells, window(unchanged, face), window(changed, face)]


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/faces.png"))
    options = parser.parse_args()
    cells = [cell for path in options.files for cell in row(path)]
    names = ["mesh", "crop", "mask", "pasted unchanged", "another mouth, +25"] * len(options.files)
    sheet = render_contact_sheet(cells, columns=5, labels=names)
    cv2.imwrite(str(options.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
