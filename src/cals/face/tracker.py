"""Tracking of one person's face through a video, frame by frame."""

import logging
from collections.abc import Iterable
from fractions import Fraction
from itertools import cycle

import numpy as np

from cals.face.appearance import AppearanceGallery
from cals.face.detector import MIN_MESH_SCORE, FaceDetector
from cals.face.mesh_fit import (
    MIN_SAME_FACE_SIMILARITY,
    MeshFit,
    fit_mesh,
    region_of_detection,
    region_of_landmarks,
    shift_region,
    smooth_region,
)
from cals.face.person import Person
from cals.face.search import (
    QUARTER_TURNS,
    Region,
    TileCycle,
    detect_in,
    drop_duplicates,
    find_faces,
    fit_faces,
    is_consistent,
    region_around,
    whole_region,
)
from cals.face.shots import Shot, ShotDetector
from cals.face.skip_reasons import TURNED_AWAY, YAW_FADE_DEG, check_framing, measure_yaw_deg
from cals.types import Picture, TrackedFace

_log = logging.getLogger(__name__)

_MAX_MOVE = 1.2
"""Largest move of a face between frames, in inter-ocular distances, whatever its appearance."""
_MAX_UNCHECKED_MOVE = 0.35
"""A longer move requires a similar appearance: see `_MIN_SIMILARITY`."""
_MIN_SIMILARITY = 0.8
"""Least correlation of aligned upper faces for a face that moved far or was lost. Measured on GRID:
consecutive frames of one person never below 0.93, two persons 0.54 in the median and 0.81 at the 95th percentile."""
_OTHER_SIMILARITY = 0.6
"""Below this correlation it is another face, or an occluded one, even if it did not move."""
_SIMILARITY_MARGIN = 0.2
"""Least lead in similarity of another face over the one that the rule selects, to be used instead of it."""
_SAME_PLACE = 0.3
"""Faces whose middles are within this many face sizes are one face."""
_MAX_GROWTH = 1.5
"""Largest change of size between frames."""
_MAX_PREDICTION_S = 0.1
"""Longest extrapolation of the motion of a face."""
_JITTER = 0.06
"""Moves per frame below this, in inter-ocular distances, are not extrapolated."""
_IDENTITY_HOLD_S = Fraction(2)
"""After a face is lost, no other one replaces it for this time, unless the shot ends. A face that appeared in its very
place, such as someone who walks past, is dropped if the person is seen again within this time."""
_DENSE_SEARCH_S = Fraction(1)
"""After a face is lost, every frame searches its last position for this time, so that it is found without delay."""
_SEARCH_INTERVAL_S, _IDLE_INTERVAL_S = Fraction(1, 10), Fraction(1, 5)
"""Time between searches for an absent face, at first and after `_IDLE_AFTER_S`."""
_IDLE_AFTER_S = Fraction(10)


class FaceTracker:
    """Finds the selected person, then fits the mesh from frame to frame; takes every frame once, in order.

    While a face is tracked, a frame costs one mesh run. The face is searched again when the mesh score falls below
    `MIN_MESH_SCORE`, at a cut, and when it jumps or its appearance changes abruptly. While it is absent, searches are
    spaced out in time. A person given by a point is not searched before the time of the point.
    """

    def __init__(self, detector: FaceDetector, person: Person | None = None) -> None:
        self._detector = detector
        self._person = person or Person()
        self._shots = ShotDetector()
        self._tiles = TileCycle()
        self._quarters = cycle(QUARTER_TURNS)
        self._last: MeshFit | None = None
        """The last mesh of the face in this shot."""
        self._gallery = AppearanceGallery()
        """Views of the person who was found first, never of another one tracked in their absence."""
        self._is_other_person = False
        """Whether the tracked face is not similar to that person."""
        self._tracking = False
        self._speed = np.zeros(2)
        """Pixels per second, of the last mesh."""
        self._last_time_s = Fraction(0)
        self._track = -1
        self._lost_s = Fraction(0)
        self._last_search_s: Fraction | None = None
        self._replaced_s: Fraction | None = None
        """Time at which another face appeared in the person's place; None if that is long ago or never happened."""
        self._skip_reason: str | None = None
        """Why no mouth should be rendered into the last face; None if one may be."""
        self._rivals: tuple[FaceTracker, ...] | None = None
        """Trackers of other persons in the same frames; None where a stranger's face may be followed."""
        self.max_faces_found = 0
        """Most faces found in one search for the person, including others."""

    @property
    def is_other_person(self) -> bool:
        """Whether the face that is tracked looks unlike the person who was found first, as after a cut."""
        return self._tracking and self._is_other_person

    def set_rivals(self, rivals: Iterable["FaceTracker"]) -> None:
        """Leave the faces of other persons to `rivals`, which take the same frames, and follow no stranger's.

        Once the person was found, a face is theirs if it is more similar to them than to any of the others.
        """
        self._rivals = tuple(rivals)

    def _is_own(self, fit: MeshFit) -> bool:
        """Return whether the face is this person's rather than a rival's or a stranger's."""
        if self._rivals is None or not self._gallery:
            return True
        similarity = self._gallery.compute_similarity(fit.thumbnail)
        return similarity >= _OTHER_SIMILARITY and all(
            rival._gallery.compute_similarity(fit.thumbnail) <= similarity for rival in self._rivals
        )

    def _is_at_rival(self, fit: MeshFit) -> bool:
        """Return whether a rival tracks a face in the same place."""
        return any(
            rival._tracking and rival._last is not None and _is_same_place(fit, rival._last)
            for rival in self._rivals or ()
        )

    def update(self, picture: Picture, time_s: Fraction, index: int) -> TrackedFace:
        """Track the face in the next frame; `time_s` counts from the first frame and increases."""
        shot = self._shots.update(picture, time_s)
        fit = self._track_face(picture, float(time_s - self._last_time_s)) if self._tracking else None
        if fit is not None and self._is_at_rival(fit) and not self._is_own(fit):
            fit = None  # two persons crossed
        # in doubt the face decides: it is the same, or another one is in its place; a lost one decides nothing
        if fit is not None and self._is_same_face(
            fit, _OTHER_SIMILARITY if shot is Shot.SAME else MIN_SAME_FACE_SIMILARITY
        ):
            returned = self._find_person_again(picture, time_s)
            if returned is not None:
                return self._begin(picture, returned, index, time_s, cut=False)
            self._update_last(fit, time_s)
            return self._build_face(picture, fit, index, time_s, cut=False)
        cut = shot is Shot.DOUBTFUL and fit is not None
        if shot is Shot.NEW:
            # if the person left or is hidden, the background is unchanged
            disappeared = fit is None and self._last is not None and self._shots.is_background_unchanged(self._last.box)
            cut = not disappeared
        if cut:
            self._tracking, self._last, self._last_search_s, self._replaced_s = False, None, None, None
        if self._tracking:
            self._tracking, self._last_search_s = False, None
        fit = self._search(picture, time_s)
        if fit is None:
            return _build_absent(index, time_s, max(self._track, 0), cut=cut)
        if self._is_other_person and not cut and time_s == self._lost_s:
            self._replaced_s = time_s
        return self._begin(picture, fit, index, time_s, cut=cut)

    def _begin(self, picture: Picture, fit: MeshFit, index: int, time_s: Fraction, *, cut: bool) -> TrackedFace:
        """Start a track with `fit`."""
        self._tracking = False
        self._update_last(fit, time_s)
        self._track += 1
        _log.debug("frame %d: track %d starts (score %.2f)", index, self._track, fit.score)
        return self._build_face(picture, fit, index, time_s, cut=cut)

    def _find_person_again(self, picture: Picture, time_s: Fraction) -> MeshFit | None:
        """Find the person again while another face is tracked that appeared in their place."""
        if self._replaced_s is None:
            return None
        if time_s - self._replaced_s > _IDENTITY_HOLD_S:
            self._replaced_s = None
        elif time_s - (self._last_search_s or 0) >= _IDLE_INTERVAL_S:
            self._last_search_s = time_s
            fits = find_faces(self._detector, picture, thorough=True)
            fits = [fit for fit in fits if self._is_own(fit)]
            best = max(fits, key=lambda fit: self._gallery.compute_similarity(fit.thumbnail), default=None)
            if best is not None and self._gallery.compute_similarity(best.thumbnail) >= _MIN_SIMILARITY:
                self._replaced_s = None
                return best
        return None

    def _update_last(self, fit: MeshFit, time_s: Fraction) -> None:
        """Store `fit` as the last mesh."""
        elapsed_s = float(time_s - self._last_time_s)
        if self._tracking and self._last is not None and elapsed_s > 0:
            self._speed = (fit.centre - self._last.centre) / elapsed_s
        else:
            self._speed = np.zeros(2)
        self._last, self._tracking, self._last_time_s = fit, True, time_s
        self._is_other_person = (
            self._is_other_person and self._gallery.compute_similarity(fit.thumbnail) < _MIN_SIMILARITY
        )
        if not self._is_other_person:
            self._gallery.add(fit.thumbnail)

    def _track_face(self, picture: Picture, elapsed_s: float) -> MeshFit | None:
        """Fit the face at the predicted position in the next frame, of whatever person; None if there is none."""
        last = self._last
        assert last is not None
        # the mesh is most exact with the face in the middle of the region, so the region follows the predicted motion;
        # small moves are ignored, else jitter of the mesh would feed back on itself
        shift = self._speed * min(elapsed_s, _MAX_PREDICTION_S)
        distance = float(np.hypot(*shift)) / max(last.eye_distance_px, 1.0)
        shift *= max(0.0, 1.0 - _JITTER / max(distance, 1e-6))
        region = smooth_region(shift_region(last.region, shift), region_of_landmarks(last.landmarks[:, :2] + shift))
        fit = fit_mesh(self._detector, picture, region)
        if fit.score >= MIN_MESH_SCORE:
            return fit
        detections = detect_in(self._detector, picture, region_around(last.centre, last.size_px))
        detections.sort(key=lambda detection: float(np.hypot(*(last.centre - detection.centre))))
        for detection in detections[:2]:
            fit = fit_mesh(self._detector, picture, region_of_detection(detection))
            if fit.score >= MIN_MESH_SCORE and self._is_same_face(fit, _MIN_SIMILARITY):
                return fit
        return None

    def _is_same_face(self, fit: MeshFit, min_similarity: float) -> bool:
        """Return whether `fit` can be the face of the previous frame, by its move, size and appearance."""
        assert self._last is not None
        size = self._last.eye_distance_px
        moved = float(np.hypot(*(fit.centre - self._last.centre))) / max(size, 1.0)
        growth = fit.eye_distance_px / max(size, 1.0)
        similarity = float(fit.thumbnail @ self._last.thumbnail)
        if moved > _MAX_UNCHECKED_MOVE:
            min_similarity = max(min_similarity, _MIN_SIMILARITY)
        return moved <= _MAX_MOVE and 1 / _MAX_GROWTH <= growth <= _MAX_GROWTH and similarity >= min_similarity

    def _search(self, picture: Picture, time_s: Fraction) -> MeshFit | None:
        """Search for the person if a search is due."""
        if self._person.kind == "point" and time_s < self._person.time_s:
            return None
        if self._last_search_s is None:
            self._lost_s = time_s
        absent_s = time_s - self._lost_s
        regions: list[Region] = []
        if self._last is not None and absent_s < _DENSE_SEARCH_S:
            regions.append(region_around(self._last.centre, self._last.size_px))
        first = self._last_search_s is None
        if first or time_s - (self._last_search_s or 0) >= (
            _SEARCH_INTERVAL_S if absent_s < _IDLE_AFTER_S else _IDLE_INTERVAL_S
        ):
            self._last_search_s = time_s
            if first and self._last is None:  # a new shot: search everything
                fits = find_faces(self._detector, picture, thorough=self._person.kind != "largest")
                return self._select(fits, time_s)
            regions += [whole_region(picture), *self._tiles.take(picture, 2 if absent_s < _IDLE_AFTER_S else 1)]
        detections = drop_duplicates(face for region in regions for face in detect_in(self._detector, picture, region))
        fits = fit_faces(self._detector, picture, detections)
        if len(regions) > 1 and not fits:
            detections = detect_in(self._detector, picture, whole_region(picture), next(self._quarters))
            fits = fit_faces(self._detector, picture, detections)
        return self._select(fits, time_s)

    def _select(self, fits: list[MeshFit], time_s: Fraction) -> MeshFit | None:
        """Select the person among the faces.

        After a gap position and appearance decide, after a cut appearance, else the rule.
        """
        self.max_faces_found = max(self.max_faces_found, len(fits))
        fits = [fit for fit in fits if self._is_own(fit)]
        similarities = [self._gallery.compute_similarity(fit.thumbnail) for fit in fits]
        if self._last is not None:
            lost = self._reidentify(self._last, fits, similarities, float(time_s - self._lost_s))
            if lost is not None or time_s - self._lost_s < _IDENTITY_HOLD_S:
                return lost
        chosen = self._person.choose([fit.box for fit in fits])
        if self._gallery and fits:
            # the rule selects the person at first, not in later shots: there appearance comes first
            best = int(np.argmax(similarities))
            min_similarity = -1.0 if chosen is None else similarities[chosen] + _SIMILARITY_MARGIN
            if similarities[best] >= min(_MIN_SIMILARITY, max(_OTHER_SIMILARITY, min_similarity)):
                chosen = best
        if chosen is None:
            return None
        self._is_other_person = bool(self._gallery) and similarities[chosen] < _OTHER_SIMILARITY
        return fits[chosen]

    def _reidentify(
        self, last: MeshFit, fits: list[MeshFit], similarities: list[float], absent_s: float
    ) -> MeshFit | None:
        """Find the face that was lost as `last`: a similar one anywhere, or one near enough for its similarity."""
        costs: dict[int, float] = {}
        for i, fit in enumerate(fits):
            distance = float(np.hypot(*(fit.centre - last.centre))) / last.size_px
            similarity = max(similarities[i], float(fit.thumbnail @ last.thumbnail))
            same_size = 0.5 <= fit.size_px / last.size_px <= 2.0
            # a face in the same place in the very next frame is tracked, since appearance may mislead
            if similarity >= _MIN_SIMILARITY or (
                same_size and (distance <= similarity or (not absent_s and distance <= _MAX_UNCHECKED_MOVE))
            ):
                costs[i] = distance - similarity  # similarity outweighs up to one face size of distance
        if not costs:
            return None
        best = min(costs, key=lambda i: costs[i])
        self._is_other_person = (
            not absent_s and max(similarities[best], float(fits[best].thumbnail @ last.thumbnail)) < _OTHER_SIMILARITY
        )
        return fits[best]

    def _build_face(self, picture: Picture, fit: MeshFit, index: int, time_s: Fraction, *, cut: bool) -> TrackedFace:
        self._update_skip_reason(fit, picture)
        return TrackedFace(
            index=index,
            time_s=time_s,
            valid=True,
            track=self._track,
            cut=cut,
            score=fit.score,
            box=fit.box,
            landmarks=fit.landmarks,
            skip_reason=self._skip_reason,
        )

    def _update_skip_reason(self, fit: MeshFit, picture: Picture) -> None:
        """Update the reason not to render a mouth into this face."""
        before = self._skip_reason is not None
        if self._is_turned_away(fit, picture):
            self._skip_reason = TURNED_AWAY
        else:
            self._skip_reason = check_framing(fit.landmarks, picture.width, picture.height, was_skipped=before)

    def _is_turned_away(self, fit: MeshFit, picture: Picture) -> bool:
        """Return whether the yaw exceeds the mesh's range; once it does, until the face is surely frontal again."""
        turn_deg = abs(measure_yaw_deg(fit.landmarks))
        if self._skip_reason != TURNED_AWAY:
            return turn_deg >= YAW_FADE_DEG[1]
        # the mesh of a profile may look frontal: the detector has to agree with the mesh
        middle = (YAW_FADE_DEG[0] + YAW_FADE_DEG[1]) / 2
        detections = (
            detect_in(self._detector, picture, region_around(fit.centre, fit.size_px)) if turn_deg < middle else []
        )
        return not any(is_consistent(detection, fit) for detection in detections)


def _is_same_place(fit: MeshFit, other: MeshFit) -> bool:
    return float(np.hypot(*(fit.centre - other.centre))) < _SAME_PLACE * max(fit.size_px, other.size_px)


def _build_absent(index: int, time_s: Fraction, track: int, *, cut: bool) -> TrackedFace:
    return TrackedFace(
        index=index,
        time_s=time_s,
        valid=False,
        track=track,
        cut=cut,
        score=0.0,
        box=None,
        landmarks=np.zeros((0, 3), dtype=np.float32),
    )
