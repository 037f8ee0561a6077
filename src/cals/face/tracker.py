"""Following one person's face through a video, frame by frame."""

import logging
from fractions import Fraction
from itertools import cycle

import numpy as np

from cals.face.detector import MIN_MESH_SCORE, FaceDetector
from cals.face.hindrance import TURNED_AWAY, TURNED_DEG, framing_hindrance, measure_turn_deg
from cals.face.looks import Looks
from cals.face.mesh_fit import (
    SAME_LOOKS,
    MeshFit,
    fit_mesh,
    region_of_detection,
    region_of_landmarks,
    shifted,
    steady_region,
)
from cals.face.person import Person
from cals.face.search import (
    QUARTERS,
    Region,
    TileRound,
    agrees,
    around,
    detect_in,
    find_faces,
    fit_faces,
    unique,
    whole,
)
from cals.face.shots import Shot, ShotDetector
from cals.types import Picture, TrackedFace

_log = logging.getLogger(__name__)

_LEAP = 1.2
"""Farthest a face moves between frames, in inter-ocular distances, whatever it looks like."""
_STEP = 0.35
"""A move this far must look like the same face: see `_LIKE`."""
_LIKE = 0.8
"""Least correlation of aligned upper faces for a face that moved far or was lost. Measured on GRID:
neighbouring frames of one person never below 0.93, two persons 0.54 in the median and 0.81 at the 95th percentile."""
_UNLIKE = 0.6
"""Below this correlation it is another face (or something before it) even if it did not move."""
_MORE_ALIKE = 0.2
"""So much more than the face that the rule means has another one to look like the person to be taken in its stead."""
_GROWTH = 1.5
"""Largest change of size between frames."""
_AHEAD_S = 0.1
"""A face's motion is foreseen no further than this."""
_TREMBLE = 0.06
"""Moves per frame below this, in inter-ocular distances, are not foreseen."""
_LOYAL_S = Fraction(2)
"""For so long after the face is lost no other one takes its place, unless the shot ends; and for so long a face that
came up in its very place, like someone who walks past before it, gives way when the person is seen again."""
_EAGER_S = Fraction(1)
"""For so long after a face is lost every frame looks where it was, so that a blink of absence costs no frame more."""
_SOON_S, _LATER_S = Fraction(1, 10), Fraction(1, 5)
"""Time between looks for an absent face, at first and after `_IDLE_S`."""
_IDLE_S = Fraction(10)


class FaceTracker:
    """Finds the person meant, then fits the mesh from frame to frame; feed every frame once, in order.

    While a face is tracked a frame costs one mesh run. A face is looked for again when the mesh score falls
    below `MIN_MESH_SCORE`, at a cut, and when it leaps or changes looks abruptly; while it is absent, looks are
    spaced out in time. A person given by a point is not looked for before that point's time.
    """

    def __init__(self, detector: FaceDetector, person: Person | None = None) -> None:
        self._detector = detector
        self._person = person or Person()
        self._shots = ShotDetector()
        self._tiles = TileRound()
        self._quarters = cycle(QUARTERS)
        self._last: MeshFit | None = None
        """The face as last seen, in this shot."""
        self._looks = Looks()
        """Of the person who was found first; of nobody who is followed when that one is not to be seen."""
        self._someone_else = False
        """Whether the face followed is not like that person."""
        self._tracking = False
        self._speed = np.zeros(2)
        """Pixels a second, of the face last seen."""
        self._seen_s = Fraction(0)
        self._track = -1
        self._lost_s = Fraction(0)
        self._looked_s: Fraction | None = None
        self._instead_s: Fraction | None = None
        """When someone else came up in the person's place; None if that is long ago or never was."""
        self._hindrance: str | None = None
        """What speaks against drawing a mouth into the face last seen."""
        self.most_seen = 0
        """Most faces met in one look for the person, whether the one meant or not."""

    def update(self, picture: Picture, time_s: Fraction, index: int) -> TrackedFace:
        """The face in the next frame; `time_s` since the first frame, increasing."""
        shot = self._shots.update(picture, time_s)
        fit = self._continued(picture, float(time_s - self._seen_s)) if self._tracking else None
        # in doubt the face decides: it stays as it was, or another one is in its place; a gone one says nothing
        if fit is not None and self._alike(fit, _UNLIKE if shot is Shot.SAME else SAME_LOOKS):
            returned = self._returned(picture, time_s)
            if returned is not None:
                return self._begin(picture, returned, index, time_s, cut=False)
            self._remember(fit, time_s)
            return self._face(picture, fit, index, time_s, cut=False)
        cut = shot is Shot.DOUBTFUL and fit is not None
        if shot is Shot.NEW:
            # someone who goes or is hidden leaves the rest of the picture as it was
            gone = fit is None and self._last is not None and self._shots.stays_around(self._last.box)
            cut = not gone
        if cut:
            self._tracking, self._last, self._looked_s, self._instead_s = False, None, None, None
        if self._tracking:
            self._tracking, self._looked_s = False, None
        fit = self._look(picture, time_s)
        if fit is None:
            return _absent(index, time_s, max(self._track, 0), cut=cut)
        if self._someone_else and not cut and time_s == self._lost_s:
            self._instead_s = time_s
        return self._begin(picture, fit, index, time_s, cut=cut)

    def _begin(self, picture: Picture, fit: MeshFit, index: int, time_s: Fraction, *, cut: bool) -> TrackedFace:
        """Start a track with `fit`."""
        self._tracking = False
        self._remember(fit, time_s)
        self._track += 1
        _log.debug("frame %d: track %d starts (score %.2f)", index, self._track, fit.score)
        return self._face(picture, fit, index, time_s, cut=cut)

    def _returned(self, picture: Picture, time_s: Fraction) -> MeshFit | None:
        """The person, where someone else is followed who came up in the person's place and the person is back."""
        if self._instead_s is None:
            return None
        if time_s - self._instead_s > _LOYAL_S:
            self._instead_s = None
        elif time_s - (self._looked_s or 0) >= _LATER_S:
            self._looked_s = time_s
            fits = find_faces(self._detector, picture, thorough=True)
            best = max(fits, key=lambda fit: self._looks.likeness(fit.thumb), default=None)
            if best is not None and self._looks.likeness(best.thumb) >= _LIKE:
                self._instead_s = None
                return best
        return None

    def _remember(self, fit: MeshFit, time_s: Fraction) -> None:
        """Take `fit` as the face last seen."""
        elapsed_s = float(time_s - self._seen_s)
        if self._tracking and self._last is not None and elapsed_s > 0:
            self._speed = (fit.centre - self._last.centre) / elapsed_s
        else:
            self._speed = np.zeros(2)
        self._last, self._tracking, self._seen_s = fit, True, time_s
        self._someone_else = self._someone_else and self._looks.likeness(fit.thumb) < _LIKE
        if not self._someone_else:
            self._looks.add(fit.thumb)

    def _continued(self, picture: Picture, elapsed_s: float) -> MeshFit | None:
        """The face in the tracked one's place in the next frame, whoever's it is; None if there is none."""
        last = self._last
        assert last is not None
        # the mesh is most exact with the face in the region's middle, so the region goes where the face is heading;
        # small moves do not count, else the mesh's own trembling would feed itself
        ahead = self._speed * min(elapsed_s, _AHEAD_S)
        far = float(np.hypot(*ahead)) / max(last.eye_distance_px, 1.0)
        ahead *= max(0.0, 1.0 - _TREMBLE / max(far, 1e-6))
        region = steady_region(shifted(last.region, ahead), region_of_landmarks(last.landmarks[:, :2] + ahead))
        fit = fit_mesh(self._detector, picture, region)
        if fit.score >= MIN_MESH_SCORE:
            return fit
        near = detect_in(self._detector, picture, around(last.centre, last.size_px))
        near.sort(key=lambda found: float(np.hypot(*(last.centre - found.centre))))
        for found in near[:2]:
            fit = fit_mesh(self._detector, picture, region_of_detection(found))
            if fit.score >= MIN_MESH_SCORE and self._alike(fit, _LIKE):
                return fit
        return None

    def _alike(self, fit: MeshFit, least: float) -> bool:
        """Whether `fit` can be the face of the frame before, by its move, size and looks."""
        assert self._last is not None
        size = self._last.eye_distance_px
        moved = float(np.hypot(*(fit.centre - self._last.centre))) / max(size, 1.0)
        growth = fit.eye_distance_px / max(size, 1.0)
        likeness = float(fit.thumb @ self._last.thumb)
        if moved > _STEP:
            least = max(least, _LIKE)
        return moved <= _LEAP and 1 / _GROWTH <= growth <= _GROWTH and likeness >= least

    def _look(self, picture: Picture, time_s: Fraction) -> MeshFit | None:
        """Look for the person if it is time to."""
        if self._person.kind == "point" and time_s < self._person.time_s:
            return None
        if self._looked_s is None:
            self._lost_s = time_s
        absent_s = time_s - self._lost_s
        regions: list[Region] = []
        if self._last is not None and absent_s < _EAGER_S:
            regions.append(around(self._last.centre, self._last.size_px))
        first = self._looked_s is None
        if first or time_s - (self._looked_s or 0) >= (_SOON_S if absent_s < _IDLE_S else _LATER_S):
            self._looked_s = time_s
            if first and self._last is None:  # a new shot: everything is worth a look
                fits = find_faces(self._detector, picture, thorough=self._person.kind != "largest")
                return self._chosen(fits, time_s)
            regions += [whole(picture), *self._tiles.take(picture, 2 if absent_s < _IDLE_S else 1)]
        found = unique(face for region in regions for face in detect_in(self._detector, picture, region))
        fits = fit_faces(self._detector, picture, found)
        if len(regions) > 1 and not fits:
            found = detect_in(self._detector, picture, whole(picture), next(self._quarters))
            fits = fit_faces(self._detector, picture, found)
        return self._chosen(fits, time_s)

    def _chosen(self, fits: list[MeshFit], time_s: Fraction) -> MeshFit | None:
        """The person among the faces in sight: after a gap by place and looks, after a cut by looks, or by the rule."""
        self.most_seen = max(self.most_seen, len(fits))
        alike = [self._looks.likeness(fit.thumb) for fit in fits]
        if self._last is not None:
            found = self._found_again(self._last, fits, alike, float(time_s - self._lost_s))
            if found is not None or time_s - self._lost_s < _LOYAL_S:
                return found
        chosen = self._person.choose([fit.box for fit in fits])
        if self._looks and fits:
            # the rule says who was meant at first, not where they are: in a new shot looks come first
            best = int(np.argmax(alike))
            least = -1.0 if chosen is None else alike[chosen] + _MORE_ALIKE
            if alike[best] >= min(_LIKE, max(_UNLIKE, least)):
                chosen = best
        if chosen is None:
            return None
        self._someone_else = bool(self._looks) and alike[chosen] < _UNLIKE
        return fits[chosen]

    def _found_again(self, last: MeshFit, fits: list[MeshFit], alike: list[float], absent_s: float) -> MeshFit | None:
        """The face that was lost as `last`: alike wherever it is, or near enough for how much alike it is."""
        costs: dict[int, float] = {}
        for i, fit in enumerate(fits):
            away = float(np.hypot(*(fit.centre - last.centre))) / last.size_px
            likeness = max(alike[i], float(fit.thumb @ last.thumb))
            same_size = 0.5 <= fit.size_px / last.size_px <= 2.0
            # whoever shows up in the very place in the very next frame is followed, for looks may mislead
            if likeness >= _LIKE or (same_size and (away <= likeness or (not absent_s and away <= _STEP))):
                costs[i] = away - likeness  # looks outweigh up to a face size of distance
        if not costs:
            return None
        best = min(costs, key=lambda i: costs[i])
        self._someone_else = not absent_s and max(alike[best], float(fits[best].thumb @ last.thumb)) < _UNLIKE
        return fits[best]

    def _face(self, picture: Picture, fit: MeshFit, index: int, time_s: Fraction, *, cut: bool) -> TrackedFace:
        self._judge(fit, picture)
        return TrackedFace(
            index=index,
            time_s=time_s,
            valid=True,
            track=self._track,
            cut=cut,
            score=fit.score,
            box=fit.box,
            landmarks=fit.landmarks,
            hindrance=self._hindrance,
        )

    def _judge(self, fit: MeshFit, picture: Picture) -> None:
        """What speaks against drawing this face's mouth."""
        before = self._hindrance is not None
        if self._is_turned_away(fit, picture):
            self._hindrance = TURNED_AWAY
        else:
            self._hindrance = framing_hindrance(fit.landmarks, picture.width, picture.height, before=before)

    def _is_turned_away(self, fit: MeshFit, picture: Picture) -> bool:
        """Whether the head is turned beyond what the mesh can do, from then on until it surely faces us again."""
        turn_deg = measure_turn_deg(fit.landmarks)
        if self._hindrance != TURNED_AWAY:
            return turn_deg >= TURNED_DEG[1]
        # the mesh of a profile may read as a face from the front: the detector has to see what the mesh sees
        middle = (TURNED_DEG[0] + TURNED_DEG[1]) / 2
        near = detect_in(self._detector, picture, around(fit.centre, fit.size_px)) if turn_deg < middle else []
        return not any(agrees(found, fit) for found in near)


def _absent(index: int, time_s: Fraction, track: int, *, cut: bool) -> TrackedFace:
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
