"""From tracked faces to patches of pixels: the base of all painters."""

from abc import ABC, abstractmethod
from fractions import Fraction
from itertools import groupby

from cals.inference.frame_tracker import TrackedFrame, View
from cals.timing import AVTiming
from cals.types import Patch

ViewBatch = list[tuple[TrackedFrame, View]]
BATCH_BYTES = 16 << 20
"""Memory of the frames in one batch: 8 and more of 720p, 5 of 1080p, one of 4K."""


class Painter(ABC):
    """Renders one track at a time, and remembers whether a gap or a cut came before it."""

    is_frame = False
    """Whether the patch is the whole frame: a head that is held otherwise than in the picture."""

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


def compute_unit_positions(timing: AVTiming, batch: ViewBatch) -> list[Fraction]:
    """Return the positions of the frames' middles on the unit axis."""
    return [timing.to_unit_position(item.frame.time_s + item.frame.duration_s / 2) for item, _ in batch]
