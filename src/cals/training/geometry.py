"""Target motion of a corpus's faces, measured with the mesh."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cals.data.store import ClipStore
from cals.models.geometry import measure_lip_gap
from cals.models.mesh import FaceMesh, measure_mesh

MAX_CLIPS_PER_SPEAKER = 40
_MIN_SPEAKING_STD_PX = 0.3
"""A mouth whose opening has a smaller standard deviation is not speaking, and is no measure of a speaker's span."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """One clip's motion."""

    rest: Tensor = field(repr=False)
    """The face at rest [468 3]."""
    motion: Tensor = field(repr=False)
    """[t k] relative to the face at rest."""
    target: Tensor = field(repr=False)
    """[t k] The motion corrected for the offset of the audio and scaled to the average speaker."""


def measure_geometry(
    mesh: FaceMesh, store: ClipStore, offsets: Sequence[float] | None = None, average_px: float | None = None
) -> tuple[list[Geometry], float]:
    """Measure all clips' geometry, without decoding video, and the average speaker's standard deviation of opening.

    The latter, in pixels, is `average_px` or else the mean over the store's speakers. `offsets` in frames are > 0 where
    a clip's audio is late. Every speaker's motion is scaled to the average deviation: how far someone opens their mouth
    does not depend on the audio.
    """
    rests, motions = [], []
    for i in range(len(store)):
        landmarks = torch.from_numpy(store.landmarks(i))
        rests.append(mesh.estimate_rest(landmarks))
        motions.append(mesh.compute_motion(landmarks, rests[-1]))
    deviations = _compute_deviations(mesh, motions, store.speakers)
    average = sum(deviations.values()) / len(deviations) if average_px is None else average_px
    geometry = []
    for i, speaker in enumerate(store.speakers):
        target = motions[i] if offsets is None else delay_curves(motions[i], offsets[i])
        geometry.append(Geometry(rests[i], motions[i], target * (average / deviations[speaker])))
    return geometry, average


def measure_corpus_mesh(store: ClipStore, components: int) -> FaceMesh:
    """Fit the mesh of the training set to at most `MAX_CLIPS_PER_SPEAKER` clips of each speaker."""
    speakers = store.speakers
    chosen = select_clips(speakers)
    return measure_mesh([store.landmarks(i) for i in chosen], [speakers[i] for i in chosen], components)


def select_clips(speakers: Sequence[str]) -> list[int]:
    """Select the indices of at most `MAX_CLIPS_PER_SPEAKER` clips of each speaker, the first ones."""
    counts: dict[str, int] = {}
    chosen = []
    for i, speaker in enumerate(speakers):
        counts[speaker] = counts.get(speaker, 0) + 1
        if counts[speaker] <= MAX_CLIPS_PER_SPEAKER:
            chosen.append(i)
    return chosen


def _compute_deviations(mesh: FaceMesh, motions: list[Tensor], speakers: list[str]) -> dict[str, float]:
    """Compute the standard deviation of opening by speaker, in pixels; silent speakers get the others' mean."""
    gaps = measure_lip_gap(mesh.basis)
    openings: dict[str, list[Tensor]] = {name: [] for name in sorted(set(speakers))}
    for motion, speaker in zip(motions, speakers, strict=True):
        openings[speaker].append(motion @ gaps)
    deviations = {name: float(torch.cat(curves).std()) for name, curves in openings.items()}
    speaking = [value for value in deviations.values() if value > _MIN_SPEAKING_STD_PX]
    mean = sum(speaking) / len(speaking) if speaking else 1.0
    return {name: value if value > _MIN_SPEAKING_STD_PX else mean for name, value in deviations.items()}


def delay_curves(motion: Tensor, frames: float) -> Tensor:
    """Delay curves [t k] by `frames`; linear interpolation, with the end values repeated."""
    places = (torch.arange(len(motion)) - frames).clamp(0, len(motion) - 1)
    below = places.floor().long().clamp(max=len(motion) - 2)
    return torch.lerp(motion[below], motion[below + 1], (places - below)[:, None])
