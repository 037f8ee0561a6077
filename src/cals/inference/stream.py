"""From tracked faces to finished frames, an iterator over another; memory does not grow with length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

import torch

from cals.face.paste import paste
from cals.inference.fade import strengths
from cals.inference.gallery import Growing, pictures
from cals.inference.tracked import TrackedFrame, View
from cals.inference.windows import UnitTrack
from cals.media.frame import Frame
from cals.models.lips import Faces, Gallery, LipModel, Look
from cals.types import U8, TrackedFace

GENERATED, NO_FACE = "generated", "no face"


@dataclass(frozen=True, eq=False)
class LipFrame:
    """One finished frame; `frame.rgb()` is its picture."""

    frame: Frame
    face: TrackedFace
    status: str
    """`generated`, or the reason why its pixels passed through."""
    strength: float
    """0 where the pixels passed through, 1 where the mouth is all generated, in between while fading."""


def generated(
    items: Iterable[TrackedFrame],
    units: UnitTrack,
    model: LipModel,
    batch: int,
    look: Look,
    galleries: dict[int, Gallery] | None = None,
) -> Iterator[LipFrame]:
    """Draw the mouths, `batch` frames at a time, and paste them; faceless frames pass through.

    `galleries` say by track what is known of each person; of others what has been seen so far. `look` finds the mesh
    in trial drawings of a person.
    """
    faded = strengths(items, lambda item: item.face, lambda item: item.frame.time_s + item.frame.duration_s)
    painter = _Painter(model, units, look, dict(galleries or {}))
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
    def __init__(self, model: LipModel, units: UnitTrack, look: Look, galleries: dict[int, Gallery]) -> None:
        self._model, self._units, self._look, self._galleries = model, units, look, Growing(galleries)
        self._known: Gallery | None = None
        self._tried: Gallery | None = None  # the same, after trial drawings
        self._gap, self._cut = False, False  # since the last face

    def crops(self, items: list[TrackedFrame]) -> list[U8]:
        """Generated crops of the items that have a view, in order."""
        drawn: list[U8] = []
        for track, group in groupby(items, lambda item: item.face.track if item.view is not None else None):
            of_track = list(group)
            self._cut = self._cut or any(item.face.cut for item in of_track)
            seen = [(item, item.view) for item in of_track if item.view is not None]
            self._gap = self._gap or not seen
            if track is not None:
                drawn += self._drawn(track, seen)
                self._gap, self._cut = False, False
        return drawn

    def _drawn(self, track: int, seen: list[tuple[TrackedFrame, View]]) -> list[U8]:
        timing = self._model.mel.timing
        middles = [item.frame.time_s + item.frame.duration_s / 2 for item, _ in seen]
        units = self._units.at([timing.unit_position(middle) for middle in middles])
        known = self._galleries.of(track, seen, found_again=self._gap and not self._cut)
        device = next(self._model.parameters()).device
        faces = Faces(
            crops=pictures(view.crop for _, view in seen),
            landmarks=torch.stack([torch.from_numpy(view.landmarks) for _, view in seen]),
            times_s=torch.tensor([float(item.frame.source_s) for item, _ in seen]),
        )
        with torch.inference_mode():
            if known is not self._known or self._tried is None:
                self._known, self._tried = known, self._model.tried(known.to(device), self._look)
            crops = self._model.render(units.to(device), faces.to(device), self._tried)
        return list((crops.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
