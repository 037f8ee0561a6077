"""From tracked faces to patches of pixels: the base of all painters, and the painter for models that render crops."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import groupby, takewhile

import torch
from torch import Tensor

from cals.face.paste import EMPTY_PATCH, paste
from cals.inference.frame_tracker import TrackedFrame, View
from cals.inference.gallery import MAX_GALLERY_S, GalleryCache, build_galleries, stack_crops
from cals.inference.windows import UnitSource, open_units
from cals.models.lips import Faces, LipModel
from cals.timing import AVTiming
from cals.types import Patch

ViewBatch = list[tuple[TrackedFrame, View]]
BATCH_BYTES = 16 << 20
"""Memory of the frames in one batch: 8 and more of 720p, 5 of 1080p, one of 4K."""


class Painter(ABC):
    """Renders one track at a time, and remembers whether a gap or a cut came before it."""

    def __init__(self) -> None:
        self._had_gap, self._had_cut = False, False  # since the last face

    def paint(self, items: list[tuple[TrackedFrame, float]]) -> list[Patch]:
        """Render a patch for each frame that has a view, in order; frames are consecutive, with their strengths."""
        patches: list[Patch] = []
        for (track, _), group in groupby(items, _get_group):
            track_items = list(group)
            self._had_cut = self._had_cut or any(item.face.cut for item, _ in track_items)
            batch = [(item, item.view) for item, _ in track_items if item.view is not None]
            self._had_gap = self._had_gap or not batch
            if track is not None:
                found_again = self._had_gap and not self._had_cut
                patches += self._paint(track, batch, [strength for _, strength in track_items], found_again)
                self._had_gap, self._had_cut = False, False
        return patches

    @abstractmethod
    def _paint(self, track: int, batch: ViewBatch, strengths: list[float], found_again: bool) -> list[Patch]:
        """Render patches for frames of one track; `found_again` after a gap without a cut."""


def _get_group(item: tuple[TrackedFrame, float]) -> tuple[int | None, bool]:
    """Return the track, None without a view, and whether the frame is rendered at all."""
    return item[0].face.track if item[0].view is not None else None, item[1] > 0


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


def compute_unit_positions(timing: AVTiming, batch: ViewBatch) -> list[Fraction]:
    """Return the positions of the frames' middles on the unit axis."""
    return [timing.to_unit_position(item.frame.time_s + item.frame.duration_s / 2) for item, _ in batch]
