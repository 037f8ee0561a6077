"""Painter for models that render crops."""

from collections.abc import Iterable, Iterator
from itertools import takewhile

import torch
from torch import Tensor

from cals.face.paste import EMPTY_PATCH, paste
from cals.inference.frame_tracker import TrackedFrame
from cals.inference.gallery import MAX_GALLERY_S, GalleryCache, build_galleries, stack_crops
from cals.inference.painters import Painter, ViewBatch, compute_unit_positions
from cals.inference.windows import UnitSource, open_units
from cals.models.lips import Faces, LipModel
from cals.types import Patch


class CropPainter(Painter):
    """Renders crops with the model and pastes them into the frames."""

    def __init__(self, model: LipModel, units: Iterator[Tensor] | UnitSource, ahead: Iterable[TrackedFrame]) -> None:
        super().__init__()
        self._galleries = GalleryCache(
            build_galleries(takewhile(lambda item: item.frame.time_s <= MAX_GALLERY_S, ahead))
        )
        self._model, self._units = model, open_units(units)

    def _paint(self, track: int, batch: ViewBatch, strengths: list[float], found_again: bool) -> list[Patch]:
        person_gallery = self._galleries.update(track, batch, found_again=found_again)
        if not any(strengths):
            return [EMPTY_PATCH] * len(batch)
        units = self._units.interpolate(compute_unit_positions(self._model.mel.timing, batch))
        device = next(self._model.parameters()).device
        faces = Faces(
            crops=stack_crops(view.crop for _, view in batch),
            landmarks=torch.stack([torch.from_numpy(view.landmarks) for _, view in batch]),
            times_s=torch.tensor([float(item.frame.source_s) for item, _ in batch]),
        )
        with torch.inference_mode():
            crops = self._model.render(units.to(device), faces.to(device), person_gallery.to(device))
        images = (crops.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return [
            paste(item.frame, view.transform, view.crop, image, view.mask, strength=strength)
            for (item, view), image, strength in zip(batch, images, strengths, strict=True)
        ]
