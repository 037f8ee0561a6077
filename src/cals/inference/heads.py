"""Heads that move otherwise than in the picture: the crop is then the picture, since it would not fit back into it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from cals.errors import ConfigError, NoFaceError
from cals.inference.gallery import gallery, pictures
from cals.inference.painters import Painter, Seen, unit_positions
from cals.inference.tracked import TrackedFrame, View
from cals.inference.windows import UnitTrack
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.models.audio2head import Audio2Head
from cals.models.head import head_pose, head_shape, place_head
from cals.models.lips import Faces, LipModel
from cals.models.pcavs import PCAVS
from cals.types import Box, CropTransform, Patch

_WHOLE = np.eye(2, 3)


class HeadMotion(ABC):
    """Where heads are held as time goes on."""

    @abstractmethod
    def faces(self, seen: Seen, units: Tensor) -> Faces:
        """Faces held as those in `seen` are to be, at their times; `units` [b d] are what is said then."""


class PoseVideo(HeadMotion):
    """The heads of another video, frame by frame; where it shows no face the last one stays."""

    def __init__(self, items: Iterable[TrackedFrame], name: str) -> None:
        self._items = ((item.frame, item.view) for item in items)
        self._name = name
        self._ahead = next(self._items, None)
        self._last: View | None = None

    def faces(self, seen: Seen, units: Tensor) -> Faces:
        """At each frame's middle; as they are nobody's own frames, every reference will do."""
        views = [self._at(item.frame.time_s + item.frame.duration_s / 2) for item, _ in seen]
        return Faces(
            crops=pictures(view.crop for view in views),
            landmarks=torch.stack([torch.from_numpy(view.landmarks) for view in views]),
            times_s=torch.full((len(views),), torch.inf),
        )

    def _at(self, time_s: Fraction) -> View:
        while self._ahead is not None and (self._ahead[0].time_s <= time_s or self._last is None):
            self._last = self._ahead[1] or self._last
            self._ahead = next(self._items, None)
        if self._last is None:
            raise NoFaceError(f"{self._name}: expected a face to take the pose from, found none; name another video")
        return self._last


class PredictedHeads(HeadMotion):
    """The head of a photo as it moves to the voice, from its own pose on; frames have to come one after another."""

    def __init__(self, model: Audio2Head) -> None:
        self._model = model
        self._state: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def faces(self, seen: Seen, units: Tensor) -> Faces:
        """The photo's face in the poses that are predicted."""
        size_px, photo = self._model.crop_px, torch.from_numpy(seen[0][1].landmarks)[None]
        start, device = head_pose(photo, size_px), next(self._model.parameters()).device
        poses, self._state = self._model.predict_heads(units[None].to(device), start.to(device), self._state)
        shape = head_shape(photo, size_px).expand(len(units), -1, -1)
        return Faces(
            crops=pictures(view.crop for _, view in seen),
            landmarks=place_head(shape, poses[0].float().cpu(), size_px),
            times_s=torch.full((len(units),), torch.inf),
        )


class HeadPainter(Painter):
    """Draws crops whose heads move as `motion` says, each the whole of its frame; see `as_crops`."""

    def __init__(self, model: LipModel, units: Iterator[Tensor], motion: HeadMotion) -> None:
        super().__init__()
        self._model, self._units, self._motion = model, UnitTrack(units), motion

    def _paint(self, track: int, seen: Seen, strengths: list[float], found_again: bool) -> list[Patch]:
        units = self._units.at(unit_positions(self._model.mel.timing, seen))
        device = next(self._model.parameters()).device
        faces = self._motion.faces(seen, units)
        known = gallery([seen[0][1]], [0.0])
        with torch.inference_mode():
            crops = self._model.render(units.to(device), faces.to(device), known.to(device))
        drawn = (crops.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        size = self._model.crop_px
        alpha = np.ones((size, size), np.float32)
        return [Patch(Box(0, 0, size, size), made, alpha) for made in drawn]


def as_crops(items: Iterable[TrackedFrame], size_px: int) -> Iterator[TrackedFrame]:
    """A photo's frames cut down to the face, each its own crop; NoFaceError for a face that is not to be drawn."""
    crop: Frame | None = None
    for item in items:
        if item.view is None and item.face.valid:
            raise NoFaceError(
                f"face: expected one that can be drawn, found a photo with {item.face.hindrance}; give another photo"
            )
        if item.view is None:
            yield item  # whoever counts faces says so
            continue
        frame = item.frame
        if crop is None:
            crop = Frame(from_rgb(item.view.crop), frame.index, frame.time_s, frame.duration_s)
        view = replace(item.view, transform=CropTransform(_WHOLE, size_px), frame_px=(size_px, size_px))
        yield TrackedFrame(crop.retimed(frame.index, frame.time_s, frame.duration_s), item.face, view)


def moves_heads(model: LipModel, name: str, *, still: bool, posed: bool) -> bool:
    """Whether heads move otherwise than in the picture: a photo's, `posed` by another video or by Audio2Head.

    Raises ConfigError where that is asked for and cannot be.
    """
    if not posed:
        return still and isinstance(model, Audio2Head)
    if not isinstance(model, PCAVS | Audio2Head):
        raise ConfigError(
            f"pose: expected a model of PC-AVS or Audio2Head, found {name}, whose heads are held as in the picture; "
            "leave --pose out"
        )
    if not still:
        raise ConfigError(
            "pose: expected a photo as face, found a video, into whose frames a head held otherwise does not fit; give "
            "one frame of it, or leave --pose out: then every frame has its own pose"
        )
    return True
