"""From tracked faces to finished frames, an iterator over another; memory does not grow with length."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice

from cals.face.skip_reasons import compute_yaw_opacity
from cals.inference import painters
from cals.inference.fade import compute_frame_strengths
from cals.inference.frame_tracker import TrackedFrame
from cals.inference.painters import Painter
from cals.media.frame import Frame
from cals.types import Patch, TrackedFace

GENERATED, NO_FACE, SILENCE, NO_SEGMENT = "generated", "no face", "silence", "outside of the segments"

Weight = Callable[[Fraction, Fraction], float]
"""Weight 0 to 1 of the generated mouth in a frame shown from one time to another, in seconds of the output; asked in
rising order."""


@dataclass(frozen=True, eq=False)
class FaceStatus:
    """What happened to one person in one frame."""

    face: TrackedFace
    status: str
    """`generated`, or the reason why its pixels passed through."""
    strength: float
    """Blend weight of the generated mouth: 0 where the pixels passed through, 1 at full, in between while fading."""


@dataclass(frozen=True, eq=False)
class LipFrame:
    """One output frame; `frame.rgb()` is its picture."""

    frame: Frame
    people: tuple[FaceStatus, ...]
    """The persons of the job, in their order."""

    @property
    def face(self) -> TrackedFace:
        """The face of the first person, the only one in most jobs."""
        return self.people[0].face

    @property
    def status(self) -> str:
        """`generated` if anyone's mouth was, else the reason of the first person who was to speak."""
        reasons = [person.status for person in self.people if person.status != NO_SEGMENT]
        return GENERATED if GENERATED in reasons else next(iter(reasons), NO_SEGMENT)

    @property
    def strength(self) -> float:
        """The largest strength of a mouth in the frame."""
        return max(person.strength for person in self.people)


@dataclass(frozen=True, eq=False)
class Role:
    """One person of a job: their tracked frames, the painter of their mouth, and when it is painted."""

    items: Iterable[TrackedFrame]
    painter: Painter
    weights: Mapping[str, Weight] = field(default_factory=dict)
    """Weights that are multiplied; the status of frames in which one is 0, whose pixels pass through -> the weight."""

    def weigh_items(self) -> Iterator[tuple[TrackedFrame, float, str]]:
        """Yield each frame with the weight of the generated mouth in it, and its status."""
        for item, weight in compute_frame_strengths(self.items, lambda item: item.view is not None):
            frame, status = item.frame, GENERATED
            for reason, weight_at in self.weights.items():
                if status == GENERATED:
                    factor = weight_at(frame.time_s, frame.time_s + frame.duration_s)
                    weight, status = weight * factor, status if factor else reason
            if item.view is not None:
                yield item, weight * compute_yaw_opacity(item.view.landmarks), status
            else:
                yield item, 0.0, (item.face.skip_reason or NO_FACE) if status == GENERATED else status


def generate_frames(roles: Sequence[Role], batch: int) -> Iterator[LipFrame]:
    """Render the mouths of all roles, whose items are the same frames.

    `batch` frames are rendered at a time, or fewer of large ones; frames without a view pass through.
    """
    weighted = zip(*(role.weigh_items() for role in roles), strict=True)
    for first in weighted:
        size = first[0][0].frame.count_within(painters.BATCH_BYTES, batch) - 1
        batch_items = [first, *islice(weighted, size)]
        patches = [_paint_role(role, [items[number] for items in batch_items]) for number, role in enumerate(roles)]
        for number, items in enumerate(batch_items):
            frame = items[0][0].frame
            for patch in (role_patches[number] for role_patches in patches):
                frame = frame if patch is None else frame.with_patch(patch)
            yield LipFrame(frame, tuple(FaceStatus(item.face, status, weight) for item, weight, status in items))


def _paint_role(role: Role, items: list[tuple[TrackedFrame, float, str]]) -> list[Patch | None]:
    """Render the patch of each frame, None where it passes through."""
    patches = iter(role.painter.paint([(item, weight) for item, weight, _ in items]))
    drawn = [None if item.view is None else next(patches) for item, _, _ in items]
    return [patch if status == GENERATED else None for patch, (_, _, status) in zip(drawn, items, strict=True)]
