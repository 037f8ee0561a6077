"""Tracing of a face back to its first appearance, for a person given by a point in time."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from cals.face.detector import MIN_MESH_SCORE, FaceDetector, compute_iou
from cals.face.mesh_fit import MIN_SAME_FACE_SIMILARITY, fit_mesh, region_of_box
from cals.face.person import MAX_POINT_DISTANCE, Person
from cals.face.search import detect_in, drop_duplicates, find_faces, region_around, whole_region
from cals.face.shots import Shot, ShotDetector
from cals.types import Picture

_MIN_LINK_IOU = 0.25
"""Least IoU of the boxes of one face in consecutive detections."""
_MAX_GAP_S = Fraction(1, 2)
"""Longest gap without a detection that does not break a chain."""


@dataclass
class _Chain:
    """One face tracked over time; only its first and last boxes [4] are stored."""

    first: NDArray[np.float64]
    first_s: Fraction
    last: NDArray[np.float64]
    last_s: Fraction


def trace_back(detector: FaceDetector, pictures: Iterable[tuple[Picture, Fraction]], person: Person) -> Person:
    """Return the same person, given by the earliest moment of their continuous appearance before `person.time_s`.

    `pictures` are the frames of the video from its start with their times, in order; reading stops at the
    person's time. The chain ends at a cut. A point without a face and other kinds of person are returned
    unchanged. Memory: two boxes a face, one picture.
    """
    if person.kind != "point":
        return person
    shots = ShotDetector()
    chains: list[_Chain] = []
    previous: Picture | None = None
    for picture, time_s in pictures:
        shot = shots.update(picture, time_s)
        if shot is Shot.NEW:
            chains = []
        elif shot is Shot.DOUBTFUL and previous is not None:
            chains = [chain for chain in chains if _is_same_face(detector, previous, picture, chain.last)]
        previous = picture
        chains = [chain for chain in chains if time_s - chain.last_s <= _MAX_GAP_S]
        _link_boxes(chains, _find_boxes(detector, picture, chains), time_s)
        if time_s >= person.time_s:
            break
    if not chains:
        return person
    lasts = np.array([chain.last for chain in chains])
    centres, sizes = (lasts[:, :2] + lasts[:, 2:]) / 2, np.ptp(lasts[:, [0, 2]], axis=1)
    distances = np.hypot(*(centres - (person.x, person.y)).T) / sizes
    best = int(distances.argmin())
    if distances[best] > MAX_POINT_DISTANCE:
        return person
    x, y = (chains[best].first[:2] + chains[best].first[2:]) / 2
    return dataclasses.replace(person, x=float(x), y=float(y), time_s=chains[best].first_s)


def _is_same_face(detector: FaceDetector, previous: Picture, picture: Picture, box: NDArray[np.float64]) -> bool:
    """Return whether the face in `box` looks the same in two consecutive pictures."""
    first = fit_mesh(detector, previous, region_of_box(box))
    second = fit_mesh(detector, picture, region_of_box(box))
    return (
        min(first.score, second.score) >= MIN_MESH_SCORE
        and float(first.thumbnail @ second.thumbnail) >= MIN_SAME_FACE_SIMILARITY
    )


def _find_boxes(detector: FaceDetector, picture: Picture, chains: list[_Chain]) -> list[NDArray[np.float64]]:
    """Find the boxes of all faces; faces of chains that the whole-picture view misses are searched up close."""
    if not chains:
        return [np.array(fit.box, dtype=np.float64) for fit in find_faces(detector, picture, thorough=True)]
    detections = detect_in(detector, picture, whole_region(picture))
    for chain in chains:
        boxes = np.array([face.box for face in detections]).reshape(-1, 4)
        if not (compute_iou(chain.last, boxes) > _MIN_LINK_IOU).any():
            centre, size_px = (chain.last[:2] + chain.last[2:]) / 2, float(chain.last[2] - chain.last[0])
            detections += detect_in(detector, picture, region_around(centre, size_px))
    return [np.array(face.box) for face in drop_duplicates(detections)]


def _link_boxes(chains: list[_Chain], boxes: list[NDArray[np.float64]], time_s: Fraction) -> None:
    """Link each box to the chain that it overlaps most, each chain once; the others start new chains."""
    unlinked = list(chains)
    for box in boxes:
        ious = compute_iou(box, np.array([chain.last for chain in unlinked]).reshape(-1, 4))
        if len(ious) and ious.max() > _MIN_LINK_IOU:
            chain = unlinked.pop(int(ious.argmax()))
            chain.last, chain.last_s = box, time_s
        else:
            chains.append(_Chain(box, time_s, box, time_s))
