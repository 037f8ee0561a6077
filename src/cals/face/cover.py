"""Noticing a hand, a microphone, a mask or text before a mouth: colours and edges where skin and lips should be.

A mesh does not tell: it holds, with full confidence, on a mouth that is not to be seen. So colours are read at its
points, against those of the upper face in the same frame, which light changes alike. Two questions are asked: whether
they can be those of a bare mouth at all, lips redder than the skin around them and skin like that of cheeks and
forehead; and whether they are like those of the same person before.
"""

from collections import deque
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8

_UPPER = np.array((50, 280, 117, 346, 6, 197, 195, 9, 151, 108, 337, 5, 4, 205, 425))
"""Cheekbones, nose and forehead."""
_SKIN = (
    *((43, 57, 106, 186, 202, 212), (273, 287, 335, 410, 422, 432)),  # beside the corners of the mouth
    *((32, 83, 140, 171, 182, 194, 201, 208), (262, 313, 369, 396, 406, 418, 421, 428)),  # on the chin
    *((92, 97, 165, 167, 206), (322, 326, 391, 393, 426)),  # over the upper lip
    *((192, 207, 213, 214, 216), (416, 427, 433, 434, 436)),  # on the cheeks
    *((135, 169, 170, 204, 210, 211), (364, 394, 395, 424, 430, 431)),  # on the jaw
    *((2, 164), (18, 200, 199, 175)),  # in the middle
)
_LIPS = (
    *((37, 39, 40, 72, 73, 185), (267, 269, 270, 302, 303, 409)),  # upper lip, left and right
    *((84, 85, 90, 91, 180, 181), (314, 315, 320, 321, 404, 405)),  # lower lip
)
_PATCHES = (*_SKIN, *_LIPS)
_POINTS = np.array([point for patch in _PATCHES for point in patch])
_OF_PATCH = np.repeat(np.arange(len(_PATCHES)), [len(patch) for patch in _PATCHES])
_MEANS = np.equal.outer(np.arange(len(_PATCHES)), _OF_PATCH) / np.bincount(_OF_PATCH)[:, None]
_SMOOTH_PX, _WIDE_PX = 1.0, 7
_DARK = 12.0
"""Levels added before logarithms are taken, so that noise in the dark does not count."""
_SKIN_OFF = (0.27, 0.36)
"""Skin of the lower face may differ so far from the upper one in red and in blue against green, as logarithms, in the
three patches where it does most. On bare faces of 21 people: 0.02 to 0.22 and 0.03 to 0.28."""
_EDGES = 0.14
"""And so far from its surroundings, in shares of the brightness: 0.01 to 0.11 on bare faces (0.14 on a
sharpened one), 0.1 to 0.25 under text."""
_PALER = 0.09
"""Lower lips so much less red than skin are none: on bare faces 0.03 at most, before a microphone 0.13 to 0.4."""
_CONTRASTS, _UNSEEN = np.array([0.08, 0.08, 0.1]), 0.25
"""What lips stand out by, in the red of the lower and the upper one and in darkness, and the least of it all that is
seen: under a mask it is 0.0 to 0.2, on bare faces from 0.3 on."""
_EDGE_WEIGHT = 3.0
"""What edges count against colours in telling one view from another."""
_COLOURLESS, _DIM = 0.03, 30.0
"""In a grey picture, or a face darker than this, colours tell nothing of lips and skin."""
_NEW, _NEW_AT_FIRST, _KNOWN_S = 0.2, 0.4, Fraction(6, 5)
"""Difference from all views kept, as logarithms in the three patches where it is largest, that a covered mouth has; and
by how much more as long as little was seen of the person, falling to nothing over that time."""
_STILL = 0.75
"""A covered mouth stays covered until it is down to this share of what would have it noticed."""
_KEPT, _WORTH = 24, 0.06
"""Views kept, and how different from all others a view is worth keeping."""
_PROVEN_S = (Fraction(3, 10), Fraction(4, 5))
"""A view is kept when nothing was noticed for so long after it, at first and once the person is known, so that what
comes slowly over the mouth is not learned."""
_BARE, _STEADY, _CHANGED_S = 0.7, 0.25, Fraction(1)
"""Another view that may well be a bare mouth, and stays so much the same, counts as covered for so long only: the light
has changed."""
_WORST = 3


class CoverWatch:
    """Says view by view whether something is before the mouth; feed the aligned views of a person in order."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._kept: NDArray[np.float32] = np.zeros((0, len(_POINTS), 4), dtype=np.float32)
        self._waiting: deque[tuple[Fraction, F32]] = deque()
        self._covered = False
        self._changed: tuple[Fraction, F32] | None = None
        self._known_s = Fraction(0)

    def update(self, crop: U8, landmarks: NDArray[Any], time_s: Fraction, *, cut: bool) -> bool:
        """Whether the mouth in an aligned `crop` [128 128 3] with its mesh [468 2+] is covered; `cut` starts afresh."""
        if cut:
            self._forget()
        view, odd = measure_mouth(crop, landmarks)
        unknown = max(0.0, 1 - float(self._known_s / _KNOWN_S))
        new = self._novelty(view) / (_NEW + _NEW_AT_FIRST * unknown)
        limit = _STILL if self._covered else 1.0
        if odd > _BARE or new <= limit:
            self._changed = None
        elif self._changed is None or _difference(self._changed[1][None], view) > _STEADY:
            self._changed = (time_s, view)
        elif time_s - self._changed[0] >= _CHANGED_S:
            self._forget()
            new = 0.0
        self._covered = odd > limit or new > limit
        self._learn(view, time_s)
        return self._covered

    def _novelty(self, view: F32) -> float:
        """How far a view is from all that are kept; 0 when there are none."""
        if not len(self._kept):
            return 0.0
        return _difference(self._kept, view)

    def _learn(self, view: F32, time_s: Fraction) -> None:
        if self._covered:
            self._waiting.clear()
            return
        if not len(self._kept):
            self._kept = view[None]
        self._waiting.append((time_s, view))
        proven_s = _PROVEN_S[self._known_s >= _KNOWN_S]
        while time_s - self._waiting[0][0] >= proven_s:
            since_s, proven = self._waiting.popleft()
            self._known_s += self._waiting[0][0] - since_s
            if self._novelty(proven) > _WORTH:
                # the oldest ones go, but for the first
                self._kept = np.concatenate([self._kept[:1], self._kept[1:][-(_KEPT - 2) :], proven[None]])


def measure_mouth(crop: U8, landmarks: NDArray[Any]) -> tuple[F32, float]:
    """Colours and edges [n 4] around the mouth against the upper face's, and how far from a bare one: 1 is too far."""
    zoom = 128 / crop.shape[0]
    at = np.clip(np.rint(landmarks[:, :2] - 0.5).astype(np.intp), 0, crop.shape[0] - 1)
    rows, columns = at[_POINTS, 1], at[_POINTS, 0]
    smooth = np.asarray(cv2.GaussianBlur(crop, (0, 0), _SMOOTH_PX / zoom))
    wide = np.asarray(cv2.blur(crop, (round(_WIDE_PX / zoom),) * 2))
    upper = np.median(smooth[at[_UPPER, 1], at[_UPPER, 0]].astype(np.float32), axis=0)
    here = smooth[rows, columns].astype(np.float32)
    colours = np.log((here + _DARK) / (upper + _DARK), dtype=np.float32)
    edges = np.abs(here - wide[rows, columns]).mean(axis=1) / (float(upper.mean()) + _DARK)
    features = np.column_stack([colours, _EDGE_WEIGHT * edges]).astype(np.float32)
    means, edges = _MEANS @ colours, _MEANS @ edges
    red, blue, light = means[:, 0] - means[:, 1], means[:, 2] - means[:, 1], means.mean(axis=1)
    skin, lips = slice(0, len(_SKIN)), slice(len(_SKIN), None)
    odd = _worst(edges[skin]) / _EDGES
    coloured = float(np.abs(np.log((upper + _DARK) / (upper.mean() + _DARK))).max()) > _COLOURLESS
    if coloured and upper.mean() > _DIM:
        redder = red[lips] - np.median(red[skin])
        darker = np.median(light[skin]) - light[lips].mean()
        contrasts = np.array([redder[2:].mean(), redder[:2].mean(), darker]) / _CONTRASTS
        unlike_skin = max(_worst(np.abs(part[skin])) / most for part, most in zip((red, blue), _SKIN_OFF, strict=True))
        unlike_lips = max(-float(redder[2:].mean()) / _PALER, _UNSEEN / max(float(np.linalg.norm(contrasts)), 1e-3))
        odd = max(odd, unlike_skin, unlike_lips)
    return features, odd


def _difference(views: F32, view: F32) -> float:
    """How far `view` [n 4] is from the nearest of `views` [m n 4], patch by patch, where it is farthest."""
    apart = np.abs(views - view).mean(axis=2) @ _MEANS.T
    return _worst(apart.min(axis=0))


def _worst(patches: NDArray[Any]) -> float:
    """Mean over the patches with the largest values."""
    return float(np.sort(patches)[-_WORST:].mean())
