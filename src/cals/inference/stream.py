"""From tracked faces to finished frames, an iterator over another; memory does not grow with length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from cals.face.hindrance import turn_share
from cals.inference.fade import strengths
from cals.inference.painters import Painter, at_once
from cals.inference.tracked import TrackedFrame
from cals.media.frame import Frame
from cals.types import TrackedFace

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


def generate_frames(items: Iterable[TrackedFrame], painter: Painter, batch: int) -> Iterator[LipFrame]:
    """Paint the mouths, `batch` frames at a time, or fewer of large ones; frames without a view pass through."""
    faded = strengths(
        items,
        lambda item: item.face,
        lambda item: item.frame.time_s + item.frame.duration_s,
        is_drawn=lambda item: item.view is not None,
    )
    turned = ((item, strength * (turn_share(item.view.landmarks) if item.view else 0.0)) for item, strength in faded)
    for first in turned:
        chunk = [first, *islice(turned, at_once(first[0].frame, batch) - 1)]
        patches = iter(painter.patches(chunk))
        for item, strength in chunk:
            if item.view is None:
                yield LipFrame(item.frame, item.face, item.face.hindrance or NO_FACE, 0.0)
            else:
                yield LipFrame(item.frame.with_patch(next(patches)), item.face, GENERATED, strength)
