"""Tracked faces to changed pixels: what every painter keeps, and the one for models that draw crops."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import groupby, takewhile

import torch
from torch import Tensor

from cals.face.paste import paste
from cals.inference.gallery import LOOK_S, Growing, build_galleries, pictures
from cals.inference.tracked import TrackedFrame, View
from cals.inference.windows import UnitTrack
from cals.models.lips import Faces, LipModel
from cals.timing import AVTiming
from cals.types import Patch

Seen = list[tuple[TrackedFrame, View]]
BATCH_BYTES = 16 << 20
"""What frames that are worked on together may take of memory: 8 and more of 720p, 5 of 1080p, one of 4K."""


class Painter(ABC):
    """Draws one person at a time; knows what was drawn before."""

    def __init__(self) -> None:
        self._gap, self._cut = False, False  # since the last face

    def patches(self, items: list[tuple[TrackedFrame, float]]) -> list[Patch]:
        """Patches for those of consecutive frames that have a view, in order; each comes with its strength."""
        painted: list[Patch] = []
        for track, group in groupby(items, lambda item: item[0].face.track if item[0].view is not None else None):
            of_track = list(group)
            self._cut = self._cut or any(item.face.cut for item, _ in of_track)
            seen = [(item, item.view) for item, _ in of_track if item.view is not None]
            self._gap = self._gap or not seen
            if track is not None:
                found_again = self._gap and not self._cut
                painted += self._paint(track, seen, [strength for _, strength in of_track], found_again)
                self._gap, self._cut = False, False
        return painted

    @abstractmethod
    def _paint(self, track: int, seen: Seen, strengths: list[float], found_again: bool) -> list[Patch]:
        """Patches for frames of one track; `found_again` after a gap without a cut."""


class CropPainter(Painter):
    """Has the model draw crops, and pastes them."""

    def __init__(self, model: LipModel, units: Iterator[Tensor], ahead: Iterable[TrackedFrame]) -> None:
        super().__init__()
        self._galleries = Growing(build_galleries(takewhile(lambda item: item.frame.time_s <= LOOK_S, ahead)))
        self._model, self._units = model, UnitTrack(units)

    def _paint(self, track: int, seen: Seen, strengths: list[float], found_again: bool) -> list[Patch]:
        units = self._units.at(unit_positions(self._model.mel.timing, seen))
        known = self._galleries.of(track, seen, found_again=found_again)
        device = next(self._model.parameters()).device
        faces = Faces(
            crops=pictures(view.crop for _, view in seen),
            landmarks=torch.stack([torch.from_numpy(view.landmarks) for _, view in seen]),
            times_s=torch.tensor([float(item.frame.source_s) for item, _ in seen]),
        )
        with torch.inference_mode():
            crops = self._model.render(units.to(device), faces.to(device), known.to(device))
        drawn = (crops.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return [
            paste(item.frame, view.transform, view.crop, made, view.mask, strength=strength)
            for (item, view), made, strength in zip(seen, drawn, strengths, strict=True)
        ]


def unit_positions(timing: AVTiming, seen: Seen) -> list[Fraction]:
    """Where the middles of frames fall on the unit axis."""
    return [timing.unit_position(item.frame.time_s + item.frame.duration_s / 2) for item, _ in seen]
