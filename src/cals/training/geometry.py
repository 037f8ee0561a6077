"""What a corpus's faces do, measured with a mesh: the motion that sound is to say."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cals.data.store import ClipStore
from cals.models.mesh import FaceMesh, lip_gap, measure_mesh

CLIPS_OF_ONE = 40
_STILL_PX = 0.3
"""A mouth whose opening deviates less than this in the crop does not speak: it says nothing of a speaker's span."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """One clip's motion."""

    rest: Tensor = field(repr=False)
    """The face at rest [468 3]."""
    motion: Tensor = field(repr=False)
    """[t k] against it, frame by frame."""
    target: Tensor = field(repr=False)
    """The same in time with the sound, as the average speaker would move."""


def measure_geometry(
    mesh: FaceMesh, store: ClipStore, offsets: Sequence[float] | None = None, average_px: float | None = None
) -> tuple[list[Geometry], float]:
    """Geometry of all clips, without decoding their pictures, and the average speaker's deviation of opening in pixels.

    That is `average_px`, or else the mean of the store's speakers. `offsets` in frames say how late each clip's sound
    is. Every speaker's motion is scaled to the average deviation: how far someone opens their mouth is theirs, not the
    sound's.
    """
    rests, motions = [], []
    for i in range(len(store)):
        landmarks = torch.from_numpy(store.landmarks(i))
        rests.append(mesh.resting(landmarks))
        motions.append(mesh.motion(landmarks, rests[-1]))
    deviations = _deviations(mesh, motions, store.speakers)
    average = sum(deviations.values()) / len(deviations) if average_px is None else average_px
    found = []
    for i, speaker in enumerate(store.speakers):
        target = motions[i] if offsets is None else _delay(motions[i], offsets[i])
        found.append(Geometry(rests[i], motions[i], target * (average / deviations[speaker])))
    return found, average


def measure_corpus_mesh(store: ClipStore, components: int) -> FaceMesh:
    """The mesh of the training set, from at most `CLIPS_OF_ONE` clips of each speaker."""
    taken: dict[str, int] = {}
    clips, speakers = [], []
    for i, speaker in enumerate(store.speakers):
        taken[speaker] = taken.get(speaker, 0) + 1
        if taken[speaker] <= CLIPS_OF_ONE:
            clips.append(store.landmarks(i))
            speakers.append(speaker)
    return measure_mesh(clips, speakers, components)


def _deviations(mesh: FaceMesh, motions: list[Tensor], speakers: list[str]) -> dict[str, float]:
    """Standard deviation of opening by speaker, in pixels; of those who do not speak the others' mean."""
    gaps = lip_gap(mesh.basis)
    openings: dict[str, list[Tensor]] = {name: [] for name in sorted(set(speakers))}
    for motion, speaker in zip(motions, speakers, strict=True):
        openings[speaker].append(motion @ gaps)
    found = {name: float(torch.cat(curves).std()) for name, curves in openings.items()}
    moving = [value for value in found.values() if value > _STILL_PX]
    usual = sum(moving) / len(moving) if moving else 1.0
    return {name: value if value > _STILL_PX else usual for name, value in found.items()}


def _delay(motion: Tensor, frames: float) -> Tensor:
    """A curve [t k] as it would be `frames` later; linear in between, the ends go on."""
    places = (torch.arange(len(motion)) - frames).clamp(0, len(motion) - 1)
    below = places.floor().long().clamp(max=len(motion) - 2)
    return torch.lerp(motion[below], motion[below + 1], (places - below)[:, None])
