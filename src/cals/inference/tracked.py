"""Frames with one person's face in them, aligned as a model sees it."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cals.face.align import Aligner, crop
from cals.face.mask import lower_face_mask
from cals.face.tracker import FaceTracker
from cals.media.frame import Frame
from cals.types import F32, U8, CropTransform, TrackedFace


@dataclass(frozen=True, eq=False)
class View:
    """What the model sees of one face."""

    transform: CropTransform
    crop: U8 = field(repr=False)
    mask: F32 = field(repr=False)
    landmarks: F32 = field(repr=False)
    """[468 3] in crop pixels."""


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame and the person's face in it; `view` is None where there is none."""

    frame: Frame
    face: TrackedFace
    view: View | None


def tracked(frames: Iterable[Frame], tracker: FaceTracker, crop_px: int) -> Iterator[TrackedFrame]:
    """Follow the person; a frame with the same pixels as the one before (a photo) is not looked at again."""
    aligner = Aligner(crop_px)
    last: TrackedFrame | None = None
    for frame in frames:
        if last is not None and frame.same_pixels(last.frame):
            face = dataclasses.replace(last.face, index=frame.index, time_s=frame.time_s, cut=False)
            last = TrackedFrame(frame, face, last.view)
        else:
            face = tracker.update(frame, frame.time_s, frame.index)
            view = None
            if face.valid:
                transform = aligner.update(face)
                pixels = crop(frame, transform)
                mask = lower_face_mask(face, transform, frame.width, frame.height)
                view = View(transform, pixels, mask, transform.landmarks(face.landmarks))
            last = TrackedFrame(frame, face, view)
        yield last
