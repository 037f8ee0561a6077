"""Contact sheet of the masked study, as the paper's Fig. 2: a row a method, the masked frames marked."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cals.evaluation.scores import compute_openings
from cals.evaluation.studies.masking import MaskingMethod
from cals.evaluation.studies.mouth_readers import PictureReader, StudyClip
from cals.face.draw import render_contact_sheet
from cals.types import U8

HIDDEN_FRAMES, BESIDE = 5, 3
"""Frames masked on the sheet, and frames on either side of them."""
_MARK = (220, 40, 40)
_MARK_PX = 4


def render_masked_sheet(
    subject: StudyClip, compared: Sequence[MaskingMethod], artist: PictureReader, margin: int
) -> list[U8]:
    """Render one clip's sheet [h w 3] as a list of one, or of none where the clip is too short.

    The masked frames are those where the real mouth moves most, since the sound matters most there.
    """
    clip = subject.clip
    edge = max(margin, BESIDE)
    starts = range(edge, clip.frames - edge - HIDDEN_FRAMES + 1)
    if not len(starts):
        return []
    opening = compute_openings(clip.landmarks[..., :2].astype(np.float64))
    first = max(starts, key=lambda start: float(opening[start : start + HIDDEN_FRAMES].std()))
    span = range(first, first + HIDDEN_FRAMES)
    frames = list(range(first - BESIDE, first + HIDDEN_FRAMES + BESIDE))
    rows = {"real": [clip.crops[frame] for frame in frames]}
    for way in compared:
        if way.name != "baseline full":
            rows[way.name] = list(
                artist.render_crops(way.network, subject, _compute_units(way, subject, span, frames), frames)
            )
    images = [
        _mark(image) if frame in span else image
        for row in rows.values()
        for image, frame in zip(row, frames, strict=True)
    ]
    labels = [(name if frame == frames[0] else str(frame)) for name in rows for frame in frames]
    return [render_contact_sheet(images, len(frames), labels)]


def _compute_units(way: MaskingMethod, subject: StudyClip, span: range, frames: list[int]) -> Tensor:
    """Compute units of the frames while the sound of `span` is masked."""
    mask = torch.zeros(1, subject.clip.frames, dtype=torch.bool)
    mask[0, list(span)] = True
    with torch.inference_mode():
        return way.predict_masked_units(subject.clip.mel, mask)[0, frames]


def _mark(image: U8) -> U8:
    """Mark an image with a bar along its lower edge."""
    marked = image.copy()
    marked[-_MARK_PX:] = _MARK
    return marked
