"""From tracked faces to finished frames, an iterator over another; memory does not grow with length."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from cals.face.skip_reasons import compute_yaw_opacity
from cals.inference import painters
from cals.inference.fade import compute_frame_strengths
from cals.inference.frame_tracker import TrackedFrame
from cals.inference.painters import Painter
from cals.media.frame import Frame
from cals.types import TrackedFace

T = TypeVar("T")
GENERATED, NO_FACE = "generated", "no face"


@dataclass(frozen=True, eq=False)
class LipFrame:
    """One output frame; `frame.rgb()` is its picture."""

    frame: Frame
    face: TrackedFace
    status: str
    """`generated`, or the reason why its pixels passed through."""
    strength: float
    """Blend weight of the generated mouth: 0 where the pixels passed through, 1 at full, in between while fading."""


def generate_frames(items: Iterable[TrackedFrame], painter: Painter, batch: int) -> Iterator[LipFrame]:
    """Render the mouths, `batch` frames at a time or fewer of large ones; frames without a view pass through."""
    with_strength = compute_frame_strengths(items, lambda item: item.view is not None)
    weighted = (
        (item, strength * (compute_yaw_opacity(item.view.landmarks) if item.view else 0.0))
        for item, strength in with_strength
    )
    for first in weighted:
        batch_items = [first, *islice(weighted, first[0].frame.count_within(painters.BATCH_BYTES, batch) - 1)]
        patches = iter(painter.paint(batch_items))
        for item, strength in batch_items:
            if item.view is None:
                yield LipFrame(item.frame, item.face, item.face.skip_reason or NO_FACE, 0.0)
            else:
                yield LipFrame(item.frame.with_patch(next(patches)), item.face, GENERATED, strength)


def close_with(stages: ExitStack, stage: Iterator[T]) -> Iterator[T]:
    """Return `stage`, which `stages` closes on exit; later ones first."""
    close = getattr(stage, "close", None)
    if close is not None:
        stages.callback(close)
    return stage
