"""Contact sheet of rolled pairs: the real, the target and the generated mouths at the same moments."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.errors import DataError
from cals.evaluation.drives import RealClip, compute_roll
from cals.evaluation.outputs import MethodOutput
from cals.evaluation.scores import compute_openings
from cals.face.align import CROP_SIZE_PX, sample_crop
from cals.face.draw import encode_png, render_contact_sheet
from cals.files import replace_atomically
from cals.inference.frame_tracker import TrackedFrame
from cals.types import U8, CropTransform

COLUMNS, STEP_S = 10, 0.08
"""Moments of a row, and the time between them."""
SIDE_PX, _ZOOM = 160, 2
_LEFT, _TOP = 24, 42
"""Corner of the lower face in a crop of 128, of which a cell shows `SIDE_PX / _ZOOM` pixels."""
_GREY = 110


def choose_moments(clip: RealClip) -> NDArray[np.int64]:
    """Choose frames [10], `STEP_S` apart, where most faces are found and then the target mouth moves most."""
    index = compute_roll(clip, clip)
    valid = clip.faces.valid & clip.faces.valid[index]
    opening = np.zeros(len(index))
    opening[clip.faces.valid] = compute_openings(clip.faces.landmarks[clip.faces.valid])
    steps_s = np.arange(COLUMNS) * STEP_S
    best_frames, best_score = np.arange(COLUMNS) % len(index), (-1, -1.0)
    for start_s in clip.middles_s[:: max(round(len(index) / clip.end_s * STEP_S), 1)]:
        frames = np.searchsorted(clip.starts_s, start_s + steps_s, side="right") - 1
        if start_s + steps_s[-1] >= clip.end_s or (np.diff(index[frames]) < 0).any():  # past the end or the roll's seam
            continue
        score = int(valid[frames].sum()), float(opening[index[frames]].std())
        if score > best_score:
            best_frames, best_score = frames, score
    return np.asarray(best_frames, dtype=np.int64)


def write_strip(path: Path, clip: RealClip, shown: MethodOutput, *, with_target: bool) -> None:
    """Write one row of the sheet as a picture; `with_target` adds a row of the target mouths below."""
    moments = choose_moments(clip)
    rows = [moments, compute_roll(clip, clip)[moments]] if with_target else [moments]
    picture = np.concatenate([np.concatenate([_crop_cell(shown.frames[t]) for t in row], axis=1) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as partial:
        partial.write_bytes(encode_png(picture))


def join_strips(strips: Iterable[tuple[Sequence[str], Path]]) -> U8:
    """Join strips into the sheet, one below the other, with a label in the first cell of each row.

    Raises DataError where a file is no picture of `write_strip`.
    """
    cells, labels = [], []
    for names, path in strips:
        image = cv2.imread(str(path))
        if image is None or image.shape != (SIDE_PX * len(names), SIDE_PX * COLUMNS, 3):
            raise DataError(f"{path}: expected a row of the contact sheet, found none; delete it and start again")
        picture = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        for row, name in enumerate(names):
            for column in range(COLUMNS):
                top, left = row * SIDE_PX, column * SIDE_PX
                cells.append(picture[top : top + SIDE_PX, left : left + SIDE_PX])
                labels.append("" if column else name)
    return render_contact_sheet(cells, COLUMNS, labels)


def _crop_cell(item: TrackedFrame) -> U8:
    """Crop the lower face, aligned, [side side 3]; grey where there is none."""
    if item.view is None:
        return np.full((SIDE_PX, SIDE_PX, 3), _GREY, np.uint8)
    zoomed = CropTransform(item.view.transform.matrix * _ZOOM, CROP_SIZE_PX * _ZOOM)
    top, left = _TOP * _ZOOM, _LEFT * _ZOOM
    return sample_crop(item.frame, zoomed)[top : top + SIDE_PX, left : left + SIDE_PX]
