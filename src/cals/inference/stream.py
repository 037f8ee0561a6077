"""From tracked faces to finished frames, an iterator over another; memory does not grow with length."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from cals.face.skip_reasons import compute_yaw_opacity
from cals.inference import painters
from cals.inference.fade import compute_frame_strengths
from cals.inference.frame_tracker import TrackedFrame
from cals.inference.painters import Painter
from cals.media.frame import Frame
from cals.types import TrackedFace

GENERATED, NO_FACE, SILENCE = "generated", "no face", "silence"

Weight = Callable[[Fraction, Fraction], float]
"""Weight 0 to 1 of the generated mouth in a frame shown from one time to another, in seconds of the output; asked in
rising order."""


@dataclass(frozen=True, eq=False)
class LipFrame:
    """One output frame; `frame.rgb()` is its picture."""

    frame: Frame
    face: TrackedFace
    status: str
    """`generated`, or the reason why its pixels passed through."""
    strength: float
    """Blend weight of the generated mouth: 0 where the pixels passed through, 1 at full, in between while fading."""


def generate_frames(
    items: Iterable[TrackedFrame], painter: Painter, batch: int, weight: Weight | None = None, idle: str = SILENCE
) -> Iterator[LipFrame]:
    """Render the mouths, `batch` frames at a time or fewer of large ones; frames without a view pass through.

    So do frames of `weight` 0, with the status `idle`: they are not rendered.
    """
    weighted = _weigh(items, weight, idle)
    for first in weighted:
        batch_items = [first, *islice(weighted, first[0].frame.count_within(painters.BATCH_BYTES, batch) - 1)]
        patches = iter(painter.paint(batch_items))
        for item, strength in batch_items:
            if item.view is None:
                yield LipFrame(item.frame, item.face, item.face.skip_reason or NO_FACE, 0.0)
            else:
                yield LipFrame(item.frame.with_patch(next(patches)), item.face, GENERATED, strength)


def _weigh(items: Iterable[TrackedFrame], weight: Weight | None, idle: str) -> Iterator[tuple[TrackedFrame, float]]:
    """Yield frames with their strengths; those of weight 0 lose their view, for the reason `idle`."""
    for item, strength in compute_frame_strengths(items, lambda item: item.view is not None):
        frame = item.frame
        factor = 1.0 if weight is None else weight(frame.time_s, frame.time_s + frame.duration_s)
        if item.view is None:
            yield item, 0.0
        elif factor > 0:
            yield item, strength * factor * compute_yaw_opacity(item.view.landmarks)
        else:
            yield replace(item, face=replace(item.face, skip_reason=idle), view=None), 0.0
