"""Detection of mouths occluded by a hand, a microphone, a mask or text, from colours and edges of skin and lips.

The mesh does not show it: its score stays high on an occluded mouth. So colours are read at its points, relative to
the upper face in the same frame, on which a change of light acts alike. Two tests follow. The colours must be possible
for a bare mouth: lips redder than the skin around them, skin like that of cheeks and forehead. And they must be like
those of the same person before.
"""

from collections import deque
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.types import F32, U8

_UPPER_FACE = np.array((50, 280, 117, 346, 6, 197, 195, 9, 151, 108, 337, 5, 4, 205, 425))
"""Cheekbones, nose and forehead."""
_SKIN_PATCHES = (
    *((43, 57, 106, 186, 202, 212), (273, 287, 335, 410, 422, 432)),  # beside the corners of the mouth
    *((32, 83, 140, 171, 182, 194, 201, 208), (262, 313, 369, 396, 406, 418, 421, 428)),  # on the chin
    *((92, 97, 165, 167, 206), (322, 326, 391, 393, 426)),  # over the upper lip
    *((192, 207, 213, 214, 216), (416, 427, 433, 434, 436)),  # on the cheeks
    *((135, 169, 170, 204, 210, 211), (364, 394, 395, 424, 430, 431)),  # on the jaw
    *((2, 164), (18, 200, 199, 175)),  # in the middle
)
_LIP_PATCHES = (
    *((37, 39, 40, 72, 73, 185), (267, 269, 270, 302, 303, 409)),  # upper lip, left and right
    *((84, 85, 90, 91, 180, 181), (314, 315, 320, 321, 404, 405)),  # lower lip
)
_PATCHES = (*_SKIN_PATCHES, *_LIP_PATCHES)
_SKIN, _LIPS = slice(0, len(_SKIN_PATCHES)), slice(len(_SKIN_PATCHES), None)
_POINTS = np.array([point for patch in _PATCHES for point in patch])
_PATCH_INDEX = np.repeat(np.arange(len(_PATCHES)), [len(patch) for patch in _PATCHES])
_PATCH_MEANS = np.equal.outer(np.arange(len(_PATCHES)), _PATCH_INDEX) / np.bincount(_PATCH_INDEX)[:, None]
_SMOOTHING_PX, _BACKGROUND_PX = 1.0, 7
_LOG_OFFSET = 12.0
"""Levels added before taking logarithms, so that noise in dark pixels has little weight."""
_MAX_SKIN_DIFFERENCE = (0.27, 0.36)
"""Largest difference of lower from upper face skin in log(red / green) and log(blue / green), in the three worst
patches. On bare faces of 21 people: 0.02 to 0.22 and 0.03 to 0.28."""
_MAX_EDGES = 0.155
"""Largest difference from its surroundings, as a share of the brightness: 0.01 to 0.11 on bare faces (0.14 on a
sharpened one, 0.143 with teeth and dark outlines), 0.1 to 0.25 under text."""
_MAX_PALENESS = 0.09
"""A lower lip this much less red than skin is none: on bare faces 0.03 at most, behind a microphone 0.13 to 0.4."""
_LIP_CONTRASTS, _MIN_LIP_CONTRAST = np.array([0.08, 0.08, 0.1]), 0.25
"""Scales of the lips' contrast in redness of the lower lip, of the upper lip, and in darkness; and the least norm of
the three of visible lips: under a mask it is 0.0 to 0.2, on bare faces 0.3 and more."""
_EDGE_WEIGHT = 3.0
"""Weight of edges relative to colours in the difference of two views."""
_MIN_SATURATION, _MIN_BRIGHTNESS = 0.03, 30.0
"""In a picture greyer or a face darker than this, colours do not separate lips from skin."""
_MAX_NOVELTY, _EXTRA_NOVELTY, _WARM_UP_S = 0.2, 0.4, Fraction(6, 5)
"""Least difference of an occluded mouth from all stored views, as logarithms in the three worst patches; an extra that
is added to it at first; and the time of observation over which the extra falls to zero."""
_PRESS_S = Fraction(1, 4)
"""Lips that look new while the skin around them looks as before may be pressed together and rolled in, for so long: on
bare faces that takes up to 0.2 s."""
_HYSTERESIS = 0.75
"""An occluded mouth counts as such until its score falls below this share of the threshold."""
_MAX_VIEWS, _MIN_VIEW_DISTANCE = 24, 0.06
"""Most stored views, and the least difference of a new view from all of them."""
_LEARNING_DELAY_S = (Fraction(3, 10), Fraction(4, 5))
"""A view is stored when no occlusion follows within this time, at first and after the warm-up, so that a slow
occlusion is not learned."""
_MAX_BARE_SCORE, _MAX_CHANGE, _RELIGHT_S = 0.7, 0.25, Fraction(1)
"""A new view with a score up to the first value that changes less than the second counts as occluded for this long
only: then the light has changed."""
_N_WORST = 3


class OcclusionDetector:
    """Detector of occluded mouths, view by view; takes the aligned views of a person in order."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._views: NDArray[np.float32] = np.zeros((0, len(_POINTS), 4), dtype=np.float32)
        self._candidates: deque[tuple[Fraction, F32]] = deque()
        self._occluded = False
        self._change: tuple[Fraction, F32] | None = None
        self._pressed_since_s: Fraction | None = None
        self._observed_s = Fraction(0)

    def update(self, crop: U8, landmarks: NDArray[Any], time_s: Fraction, *, cut: bool) -> bool:
        """Return whether the mouth in an aligned `crop` [128 128 3] with mesh [468 2+] is occluded; `cut` resets."""
        if cut:
            self._reset()
        view, score = measure_mouth(crop, landmarks)
        warm_up = max(0.0, 1 - float(self._observed_s / _WARM_UP_S))
        scale = _MAX_NOVELTY + _EXTRA_NOVELTY * warm_up
        differences = self._compute_differences(view) / scale
        novelty, skin_novelty = _average_worst(differences), _average_worst(differences[_SKIN])
        limit = _HYSTERESIS if self._occluded else 1.0
        if score > _MAX_BARE_SCORE or novelty <= limit:
            self._change = None
        elif self._change is None or _average_worst(_compute_differences(self._change[1][None], view)) > _MAX_CHANGE:
            self._change = (time_s, view)
        elif time_s - self._change[0] >= _RELIGHT_S:
            self._reset()
            novelty = 0.0
        if max(score, novelty) > limit >= max(score, skin_novelty) and not self._occluded:
            # rolled in lips, for a moment: neither a view to learn nor the end of one
            self._pressed_since_s = time_s if self._pressed_since_s is None else self._pressed_since_s
            if time_s - self._pressed_since_s < _PRESS_S:
                return False
        self._pressed_since_s = None
        self._occluded = max(score, novelty) > limit
        self._add_view(view, time_s)
        return self._occluded

    def _compute_differences(self, view: F32) -> NDArray[np.floating[Any]]:
        """Compute the difference of each patch of a view from all stored views; 0 when there are none."""
        return _compute_differences(self._views, view) if len(self._views) else np.zeros(len(_PATCHES))

    def _add_view(self, view: F32, time_s: Fraction) -> None:
        if self._occluded:
            self._candidates.clear()
            return
        if not len(self._views):
            self._views = view[None]
        self._candidates.append((time_s, view))
        delay_s = _LEARNING_DELAY_S[self._observed_s >= _WARM_UP_S]
        while time_s - self._candidates[0][0] >= delay_s:
            since_s, candidate = self._candidates.popleft()
            self._observed_s += self._candidates[0][0] - since_s
            if _average_worst(self._compute_differences(candidate)) > _MIN_VIEW_DISTANCE:
                # drop the oldest ones, except the first
                self._views = np.concatenate([self._views[:1], self._views[1:][-(_MAX_VIEWS - 2) :], candidate[None]])


def measure_mouth(crop: U8, landmarks: NDArray[Any]) -> tuple[F32, float]:
    """Measure colours and edges [n 4] around the mouth relative to the upper face, and an occlusion score: limit 1."""
    zoom = 128 / crop.shape[0]
    indices = np.clip(np.rint(landmarks[:, :2] - 0.5).astype(np.intp), 0, crop.shape[0] - 1)
    rows, columns = indices[_POINTS, 1], indices[_POINTS, 0]
    smooth = np.asarray(cv2.GaussianBlur(crop, (0, 0), _SMOOTHING_PX / zoom))
    background = np.asarray(cv2.blur(crop, (round(_BACKGROUND_PX / zoom),) * 2))
    upper = np.median(smooth[indices[_UPPER_FACE, 1], indices[_UPPER_FACE, 0]].astype(np.float32), axis=0)
    pixels = smooth[rows, columns].astype(np.float32)
    colours = np.log((pixels + _LOG_OFFSET) / (upper + _LOG_OFFSET), dtype=np.float32)
    edges = np.abs(pixels - background[rows, columns]).mean(axis=1) / (float(upper.mean()) + _LOG_OFFSET)
    features = np.column_stack([colours, _EDGE_WEIGHT * edges]).astype(np.float32)
    means, edges = _PATCH_MEANS @ colours, _PATCH_MEANS @ edges
    red, blue, light = means[:, 0] - means[:, 1], means[:, 2] - means[:, 1], means.mean(axis=1)
    score = _average_worst(edges[_SKIN]) / _MAX_EDGES
    has_colour = float(np.abs(np.log((upper + _LOG_OFFSET) / (upper.mean() + _LOG_OFFSET))).max()) > _MIN_SATURATION
    if has_colour and upper.mean() > _MIN_BRIGHTNESS:
        redness = red[_LIPS] - np.median(red[_SKIN])
        darkness = np.median(light[_SKIN]) - light[_LIPS].mean()
        contrasts = np.array([redness[2:].mean(), redness[:2].mean(), darkness]) / _LIP_CONTRASTS
        unlike_skin = max(
            _average_worst(np.abs(channel[_SKIN])) / limit
            for channel, limit in zip((red, blue), _MAX_SKIN_DIFFERENCE, strict=True)
        )
        unlike_lips = max(
            -float(redness[2:].mean()) / _MAX_PALENESS, _MIN_LIP_CONTRAST / max(float(np.linalg.norm(contrasts)), 1e-3)
        )
        score = max(score, unlike_skin, unlike_lips)
    return features, score


def _compute_differences(views: F32, view: F32) -> NDArray[np.floating[Any]]:
    """Compute the difference of each patch of `view` [n 4] from the nearest of `views` [m n 4]."""
    distances = np.abs(views - view).mean(axis=2) @ _PATCH_MEANS.T
    return np.asarray(distances.min(axis=0))


def _average_worst(patches: NDArray[Any]) -> float:
    """Average the patches with the largest values."""
    return float(np.sort(patches)[-_N_WORST:].mean())
