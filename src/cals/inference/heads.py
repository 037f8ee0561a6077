"""Head motion that differs from the picture's: the output is then the crop, as it would not fit back into the frame."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from cals.errors import NoFaceError
from cals.inference.frame_tracker import TrackedFrame, View
from cals.inference.gallery import build_gallery, stack_crops
from cals.inference.painters import Painter, ViewBatch, compute_unit_positions
from cals.inference.windows import UnitStream
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.models.audio2head import Audio2Head
from cals.models.head import apply_head_pose, estimate_head_pose, remove_head_pose
from cals.models.lips import Faces, LipModel
from cals.types import Box, CropTransform, Patch

_IDENTITY = np.eye(2, 3)


class HeadMotion(ABC):
    """Source of head poses over time."""

    @abstractmethod
    def build_faces(self, batch: ViewBatch, units: Tensor) -> Faces:
        """Return faces in the poses for the frames of `batch`; `units` [b d] are the speech at their times."""


class PoseVideo(HeadMotion):
    """Poses of another video's head, frame by frame; a frame without a face keeps the last pose."""

    def __init__(self, items: Iterable[TrackedFrame], name: str) -> None:
        self._items = ((item.frame, item.view) for item in items)
        self._name = name
        self._next_item = next(self._items, None)
        self._last_view: View | None = None

    def build_faces(self, batch: ViewBatch, units: Tensor) -> Faces:
        """Return the faces shown at each frame's middle; their times are infinite, so any reference frame may serve."""
        views = [self._find_view(item.frame.time_s + item.frame.duration_s / 2) for item, _ in batch]
        return Faces(
            crops=stack_crops(view.crop for view in views),
            landmarks=torch.stack([torch.from_numpy(view.landmarks) for view in views]),
            times_s=torch.full((len(views),), torch.inf),
        )

    def _find_view(self, time_s: Fraction) -> View:
        while self._next_item is not None and (self._next_item[0].time_s <= time_s or self._last_view is None):
            self._last_view = self._next_item[1] or self._last_view
            self._next_item = next(self._items, None)
        if self._last_view is None:
            raise NoFaceError(f"{self._name}: expected a face to take the pose from, found none; name another video")
        return self._last_view


class PredictedHeads(HeadMotion):
    """Poses predicted from the speech, beginning with the photo's own; frames have to come in order."""

    def __init__(self, model: Audio2Head) -> None:
        self._model = model
        self._state: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def build_faces(self, batch: ViewBatch, units: Tensor) -> Faces:
        """Return the photo's face in the predicted poses."""
        size_px, photo = self._model.crop_px, torch.from_numpy(batch[0][1].landmarks)[None]
        initial_pose, device = estimate_head_pose(photo, size_px), next(self._model.parameters()).device
        poses, self._state = self._model.predict_poses(units[None].to(device), initial_pose.to(device), self._state)
        shape = remove_head_pose(photo, size_px).expand(len(units), -1, -1)
        return Faces(
            crops=stack_crops(view.crop for _, view in batch),
            landmarks=apply_head_pose(shape, poses[0].float().cpu(), size_px),
            times_s=torch.full((len(units),), torch.inf),
        )


class HeadPainter(Painter):
    """Renders crops with the head poses of `motion`; each crop is its whole frame, see `crop_to_face`."""

    is_frame = True

    def __init__(self, model: LipModel, units: Iterator[Tensor], motion: HeadMotion) -> None:
        super().__init__()
        self._model, self._units, self._motion = model, UnitStream(units), motion

    def _paint(self, track: int, batch: ViewBatch, strengths: list[float], found_again: bool) -> list[Patch]:
        units = self._units.interpolate(compute_unit_positions(self._model.mel.timing, batch))
        device = next(self._model.parameters()).device
        faces = self._motion.build_faces(batch, units)
        person_gallery = build_gallery([batch[0][1]], [0.0])
        with torch.inference_mode():
            crops = self._model.render(units.to(device), faces.to(device), person_gallery.to(device))
        images = (crops.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        size = self._model.crop_px
        alpha = np.ones((size, size), np.float32)
        return [Patch(Box(0, 0, size, size), image, alpha) for image in images]


def crop_to_face(items: Iterable[TrackedFrame], size_px: int) -> Iterator[TrackedFrame]:
    """Yield a photo's frames cropped to the face; NoFaceError for a face that cannot be rendered."""
    crop: Frame | None = None
    for item in items:
        if item.view is None and item.face.valid:
            raise NoFaceError(
                f"face: expected one that can be drawn, found a photo with {item.face.skip_reason}; give another photo"
            )
        if item.view is None:
            yield item  # the caller counts faces
            continue
        frame = item.frame
        if crop is None:
            crop = Frame(from_rgb(item.view.crop), frame.index, frame.time_s, frame.duration_s)
        view = replace(item.view, transform=CropTransform(_IDENTITY, size_px), frame_px=(size_px, size_px))
        yield TrackedFrame(crop.with_time(frame.index, frame.time_s, frame.duration_s), item.face, view)
