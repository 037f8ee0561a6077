"""The stages a frame passes through, each an iterator over the one before; memory does not grow with length."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from cals.face.align import Aligner, crop
from cals.face.mask import lower_face_mask
from cals.face.paste import paste
from cals.face.tracker import FaceTracker
from cals.inference.fade import strengths
from cals.inference.windows import UnitTrack
from cals.media.frame import Frame
from cals.models.lips import LipModel
from cals.types import F32, U8, CropTransform, TrackedFace

GENERATED, NO_FACE = "generated", "no face"


@dataclass(frozen=True, eq=False)
class View:
    """What the model sees of one face."""

    transform: CropTransform
    crop: U8
    mask: F32


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame and the person's face in it; `view` is None where there is none."""

    frame: Frame
    face: TrackedFace
    view: View | None


@dataclass(frozen=True, eq=False)
class LipFrame:
    """One finished frame; `frame.rgb()` is its picture."""

    frame: Frame
    face: TrackedFace
    status: str
    """`generated`, or the reason why its pixels passed through."""
    strength: float
    """0 where the pixels passed through, 1 where the mouth is all generated, in between while fading."""


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
                view = View(transform, pixels, lower_face_mask(face, transform, frame.width, frame.height))
            last = TrackedFrame(frame, face, view)
        yield last


def generated(items: Iterable[TrackedFrame], units: UnitTrack, model: LipModel, batch: int) -> Iterator[LipFrame]:
    """Draw the mouths, `batch` frames at a time, and paste them; faceless frames pass through."""
    faded = strengths(items, lambda item: item.face, lambda item: item.frame.time_s + item.frame.duration_s)
    painter = _Painter(model, units)
    while chunk := list(islice(faded, batch)):
        crops = iter(painter.crops([item for item, _ in chunk]))
        for item, strength in chunk:
            if item.view is None:
                yield LipFrame(item.frame, item.face, NO_FACE, 0.0)
                continue
            patch = paste(
                item.frame, item.view.transform, item.view.crop, next(crops), item.view.mask, strength=strength
            )
            yield LipFrame(item.frame.with_patch(patch), item.face, GENERATED, strength)


class _Painter:
    def __init__(self, model: LipModel, units: UnitTrack) -> None:
        self._model, self._units = model, units
        self._reference: U8 | None = None
        self._track = -1

    def crops(self, items: list[TrackedFrame]) -> list[U8]:
        """Generated crops of the items that have a view, in order."""
        seen = [(item, item.view) for item in items if item.view is not None]
        if not seen:
            return []
        timing = self._model.mel.timing
        middles = [item.frame.time_s + item.frame.duration_s / 2 for item, _ in seen]
        units = self._units.at([timing.unit_position(middle) for middle in middles])
        current = np.stack([view.crop for _, view in seen])
        reference = np.stack([self._reference_for(item.face.track, view.crop) for item, view in seen])
        prior = current.copy()
        prior[:, prior.shape[1] // 2 :] = 0
        with torch.inference_mode():
            drawn = self._model.render(units.to(self._device), self._tensor(reference), self._tensor(prior))
        return list((drawn.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _reference_for(self, track: int, pixels: U8) -> U8:
        # The first face of a track is its identity source until a trained model says what serves it better.
        if self._reference is None or track != self._track:
            self._reference, self._track = pixels, track
        return self._reference

    def _tensor(self, pixels: U8) -> torch.Tensor:
        return torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).float() / 255
