"""Finding out where the face at a later moment was before: for a person given by a point in time."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from cals.face.detector import MIN_MESH_SCORE, FaceDetector, overlap
from cals.face.mesh_fit import SAME_LOOKS, fit_mesh, region_of_box
from cals.face.person import NEAR, Person
from cals.face.search import around, detect_in, find_faces, unique, whole
from cals.face.shots import Shot, ShotDetector
from cals.types import Picture

_LINKED = 0.25
"""Least overlap of one face's boxes in neighbouring looks."""
_FORGIVEN_S = Fraction(1, 2)
"""A face may go unseen for so long without its chain breaking."""


@dataclass
class _Chain:
    """One face followed through time; only its ends are kept, as boxes [4]."""

    first: NDArray[np.float64]
    first_s: Fraction
    last: NDArray[np.float64]
    last_s: Fraction


def trace_back(detector: FaceDetector, pictures: Iterable[tuple[Picture, Fraction]], person: Person) -> Person:
    """The same person, named by the earliest moment of their unbroken appearance before `person.time_s`.

    `pictures` are the frames of the video from its start with their times, in order; reading stops at the
    person's time. The chain ends at a cut. A point that meets no face, or another kind of person, comes back
    unchanged. Memory: two boxes a face, one picture.
    """
    if person.kind != "point":
        return person
    shots = ShotDetector()
    chains: list[_Chain] = []
    before: Picture | None = None
    for picture, time_s in pictures:
        shot = shots.update(picture, time_s)
        if shot is Shot.NEW:
            chains = []
        elif shot is Shot.DOUBTFUL and before is not None:
            chains = [chain for chain in chains if _stays(detector, before, picture, chain.last)]
        before = picture
        chains = [chain for chain in chains if time_s - chain.last_s <= _FORGIVEN_S]
        _link(chains, _faces(detector, picture, chains), time_s)
        if time_s >= person.time_s:
            break
    if not chains:
        return person
    lasts = np.array([chain.last for chain in chains])
    centres, sizes = (lasts[:, :2] + lasts[:, 2:]) / 2, np.ptp(lasts[:, [0, 2]], axis=1)
    distances = np.hypot(*(centres - (person.x, person.y)).T) / sizes
    best = int(distances.argmin())
    if distances[best] > NEAR:
        return person
    x, y = (chains[best].first[:2] + chains[best].first[2:]) / 2
    return dataclasses.replace(person, x=float(x), y=float(y), time_s=chains[best].first_s)


def _stays(detector: FaceDetector, before: Picture, picture: Picture, box: NDArray[np.float64]) -> bool:
    """Whether the face in `box` looks the same in two neighbouring pictures."""
    one = fit_mesh(detector, before, region_of_box(box))
    other = fit_mesh(detector, picture, region_of_box(box))
    return min(one.score, other.score) >= MIN_MESH_SCORE and float(one.thumb @ other.thumb) >= SAME_LOOKS


def _faces(detector: FaceDetector, picture: Picture, chains: list[_Chain]) -> list[NDArray[np.float64]]:
    """Boxes of every face in sight; chains that the view of the whole picture misses are looked at from near."""
    if not chains:
        return [np.array(fit.box, dtype=np.float64) for fit in find_faces(detector, picture, thorough=True)]
    found = detect_in(detector, picture, whole(picture))
    for chain in chains:
        boxes = np.array([face.box for face in found]).reshape(-1, 4)
        if not (overlap(chain.last, boxes) > _LINKED).any():
            centre, size_px = (chain.last[:2] + chain.last[2:]) / 2, float(chain.last[2] - chain.last[0])
            found += detect_in(detector, picture, around(centre, size_px))
    return [np.array(face.box) for face in unique(found)]


def _link(chains: list[_Chain], found: list[NDArray[np.float64]], time_s: Fraction) -> None:
    """Add each face to the chain it overlaps most, each chain once; the others start chains."""
    free = list(chains)
    for box in found:
        shares = overlap(box, np.array([chain.last for chain in free]).reshape(-1, 4))
        if len(shares) and shares.max() > _LINKED:
            chain = free.pop(int(shares.argmax()))
            chain.last, chain.last_s = box, time_s
        else:
            chains.append(_Chain(box, time_s, box, time_s))
