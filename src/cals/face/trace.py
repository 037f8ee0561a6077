"""Finding out where the face at a later moment was before: for a person given by a point in time."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cals.face.detector import Detection, FaceDetector, overlap
from cals.face.person import Person
from cals.face.search import around, detect_in, find_faces, unique, whole
from cals.face.shots import ShotDetector
from cals.types import Picture

_LINKED = 0.25
"""Least overlap of one face's boxes in neighbouring looks."""
_FORGIVEN_S = Fraction(1, 2)
"""A face may go unseen for so long without its chain breaking."""


@dataclass
class _Chain:
    """One face followed through time; only its ends are kept."""

    first: Detection
    first_s: Fraction
    last: Detection
    last_s: Fraction


def trace_back(detector: FaceDetector, pictures: Iterable[tuple[Picture, Fraction]], person: Person) -> Person:
    """The same person, named by the earliest moment of their unbroken appearance before `person.time_s`.

    `pictures` are the frames of the video from its start with their times, in order; reading stops at the
    person's time. The chain ends at a cut. A point that meets no face, or another kind of person, comes back
    unchanged. Memory: two boxes a face.
    """
    if person.kind != "point":
        return person
    shots = ShotDetector()
    chains: list[_Chain] = []
    for picture, time_s in pictures:
        if shots.update(picture, time_s):
            chains = []
        chains = [chain for chain in chains if time_s - chain.last_s <= _FORGIVEN_S]
        _link(chains, _faces(detector, picture, chains), time_s)
        if time_s >= person.time_s:
            break
    if not chains:
        return person
    centres = np.array([chain.last.centre for chain in chains])
    sizes = np.array([chain.last.size_px for chain in chains])
    distances = np.hypot(*(centres - (person.x, person.y)).T) / sizes
    best = int(distances.argmin())
    if distances[best] > 1:
        return person
    x, y = chains[best].first.centre
    return dataclasses.replace(person, x=x, y=y, time_s=chains[best].first_s)


def _faces(detector: FaceDetector, picture: Picture, chains: list[_Chain]) -> list[Detection]:
    """Every face in sight; chains that the view of the whole picture misses are looked at from near."""
    if not chains:
        return find_faces(detector, picture, thorough=True)
    found = detect_in(detector, picture, whole(picture))
    for chain in chains:
        boxes = np.array([face.box for face in found]).reshape(-1, 4)
        if not (overlap(np.array(chain.last.box), boxes) > _LINKED).any():
            found += detect_in(detector, picture, around(np.array(chain.last.centre), chain.last.size_px))
    return unique(found)


def _link(chains: list[_Chain], found: list[Detection], time_s: Fraction) -> None:
    """Add each face to the chain it overlaps most, each chain once; the others start chains."""
    free = list(chains)
    for face in found:
        shares = overlap(np.array(face.box), np.array([chain.last.box for chain in free]).reshape(-1, 4))
        if len(shares) and shares.max() > _LINKED:
            chain = free.pop(int(shares.argmax()))
            chain.last, chain.last_s = face, time_s
        else:
            chains.append(_Chain(face, time_s, face, time_s))
