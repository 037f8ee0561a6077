"""Bank of a person's own mouths as sources: some hundred frames that cover their motion and head pose."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cals.arrays import Array, compute_squared_distances, convert_like, get_namespace, lerp, square, to_numpy
from cals.face.patches import PATCH_VALUES, measure_light, sample_patches
from cals.face.picture import ArrayPicture
from cals.face.transfer import SourceFace, build_source_face
from cals.inference.frame_tracker import View
from cals.media.frame import Frame
from cals.models.appearance import (
    compute_patch_places,
    estimate_rest_appearance,
    normalize_appearance,
    project_patches,
)
from cals.models.geometry import MotionDecoder, estimate_similarity, measure_lip_gap
from cals.models.mouth import compute_stretch_share
from cals.models.network import MIN_REFERENCE_GAP_S
from cals.models.sources import SourceCosts
from cals.models.speaker import Speaker, compute_match_weights, fit_speaker
from cals.types import F32

BANK_BYTES = 56 * 2**20
"""Memory for one person's mouths."""
BANK_COUNT = 600
_REDUNDANT_SHARE = 0.1
"""Share of the mouths that is dropped when there are too many: those most similar to another one."""
_CONSECUTIVE_S = 0.13
"""Frames no further apart in time are consecutive: the mouth's motion between them is real."""
_FIT_S = 20.0
"""Length of video that a person's rest shape and motion range are fitted to; later frames add sources only."""


@dataclass
class _Arrays:
    """Arrays with one row per mouth, in order of time."""

    landmarks: F32 = field(default_factory=lambda: np.zeros((0, 468, 3), np.float32))
    light: F32 = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    patches: F32 = field(default_factory=lambda: np.zeros((0, PATCH_VALUES), np.float32))
    times_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    nbytes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Memory of the sources as they were cut; restored ones take more, and the limit must not depend on that."""


class MouthBank:
    """One person's mouths, and the speaker model that is fitted to them."""

    def __init__(self, decoder: MotionDecoder, costs: SourceCosts) -> None:
        self._decoder, self._costs = decoder, costs
        self._arrays = _Arrays()
        self.sources: list[SourceFace] = []
        self._first_s, self._latest_s = math.inf, -math.inf
        self._fit_landmarks: list[F32] = []
        self._fit_count = 0
        self._speaker: Speaker | None = None
        self._motion: Array = np.zeros(0)
        self._openings: Array = np.zeros(0)
        self._appearance: Array = np.zeros(0)
        self._rest_appearance: Array = np.zeros(0)
        self._rotation: Array = np.zeros(0)

    def add(self, items: list[tuple[Frame, View]]) -> None:
        """Add frames, except those that are shown again, such as all frames of a photo."""
        new: list[tuple[Frame, View]] = []
        for frame, view in items:
            if float(frame.source_s) > self._latest_s:
                self._latest_s = float(frame.source_s)
                new.append((frame, view))
        if not new:
            return
        self._first_s = min(self._first_s, float(new[0][0].source_s))
        landmarks = np.stack([view.landmarks for _, view in new])
        if self._latest_s - self._first_s <= _FIT_S:
            self._fit_landmarks += list(landmarks)
        arrays = self._arrays
        arrays.landmarks = np.concatenate([arrays.landmarks, landmarks])
        arrays.light = np.concatenate([arrays.light, np.stack([measure_light(view.crop) for _, view in new])])
        times_s = np.array([float(frame.source_s) for frame, _ in new])
        arrays.times_s = np.concatenate([arrays.times_s, times_s])
        sources = [build_source_face(frame, view.transform, view.crop) for frame, view in new]
        self.sources += sources
        arrays.nbytes = np.concatenate([arrays.nbytes, [source.nbytes for source in sources]])
        if self._speaker is None or len(self._fit_landmarks) >= 2 * self._fit_count:
            self.fit()
        else:
            arrays.patches = np.concatenate([arrays.patches, self._sample_patches(len(arrays.patches))])
            self._measure()
        self._thin()

    def export_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that `from_arrays` needs."""
        arrays, sources = self._arrays, self.sources
        pixels = [source.pixels for source in sources]
        return {
            "landmarks": arrays.landmarks,
            "light": arrays.light,
            "times_s": arrays.times_s,
            "nbytes": arrays.nbytes,
            "span_s": np.array([self._first_s, self._latest_s]),
            "fit_landmarks": np.stack(self._fit_landmarks),
            "crops": np.stack([source.crop for source in sources]),
            "pixels": np.concatenate([part.reshape(-1) for part in pixels]),
            "sizes": np.array([part.shape for part in pixels]),
            "matrices": np.stack([source.matrix for source in sources]),
        }

    @classmethod
    def from_arrays(cls, decoder: MotionDecoder, costs: SourceCosts, values: Mapping[str, NDArray[Any]]) -> "MouthBank":
        """Build the bank that `export_arrays` described."""
        bank = cls(decoder, costs)
        bank._arrays = _Arrays(**{name: values[name] for name in ("landmarks", "light", "times_s", "nbytes")})
        bank._first_s, bank._latest_s = values["span_s"].tolist()
        bank._fit_landmarks = list(values["fit_landmarks"])
        ends = np.cumsum(values["sizes"].prod(axis=1))[:-1]
        parts = zip(values["crops"], np.split(values["pixels"], ends), values["sizes"], values["matrices"], strict=True)
        # copies, since a part would keep all others in memory
        bank.sources = [SourceFace(c.copy(), ArrayPicture(p.reshape(size).copy()), m.copy()) for c, p, size, m in parts]
        bank.fit()
        return bank

    def fit(self) -> None:
        """Fit this person's rest shape and motion range to all frames seen so far."""
        if self._fit_count != len(self._fit_landmarks):
            self._fit_count = len(self._fit_landmarks)
            self._speaker = fit_speaker(self._decoder, self._convert(np.stack(self._fit_landmarks)))
            self._arrays.patches = self._sample_patches(0)
            self._measure()

    @property
    def speaker(self) -> Speaker:
        assert self._speaker is not None, "a bank without mouths"
        return self._speaker

    @property
    def landmarks(self) -> Array:
        """[n 468 3] in crop pixels."""
        return self._convert(self._arrays.landmarks)

    def find_index(self, source: SourceFace) -> int | None:
        """Return a source's index in the list, None once it was dropped."""
        return next((i for i, other in enumerate(self.sources) if other is source), None)

    def is_consecutive(self, first: int, second: int) -> bool:
        """Whether two sources are the same or come right after one another in the video."""
        times_s = self._arrays.times_s
        return abs(first - second) <= 1 and abs(float(times_s[first] - times_s[second])) <= _CONSECUTIVE_S

    @property
    def is_followed(self) -> NDArray[np.bool_]:
        """[n - 1] Whether each mouth's successor comes right after it in the video."""
        return np.diff(self._arrays.times_s) <= _CONSECUTIVE_S

    def retarget_appearance(self, appearance: Array, share: Array) -> Array:
        """Retarget the average speaker's appearance [t j]; the smaller its `share` [t], the nearer to rest it is."""
        return lerp(self._rest_appearance, appearance, share[:, None])

    def measure_costs(
        self, motion: Array, appearance: Array, rotation: Array, light: F32, times_s: F32
    ) -> NDArray[np.float64]:
        """Compute each mouth's cost [t n] at source times [t].

        That is for motions [t k], appearances [t j], rotations [t 3 3] and lights [t 3].
        """
        costs = self._costs
        weights, light, lights = self._weights, self._convert(light), self._convert(self._arrays.light)
        distances = compute_squared_distances(motion * weights, self._motion * weights)
        distances += costs.appearance * compute_squared_distances(appearance, self._appearance)
        rest_gap = measure_lip_gap(self.speaker.rest)
        openings, target_openings = (rest_gap + part for part in (self._openings, self._measure_openings(motion)))
        distances += costs.stretch * compute_stretch_share(openings, target_openings[:, None])
        distances += costs.pose * compute_squared_distances(_flatten(rotation), _flatten(self._rotation))
        distances += costs.light * compute_squared_distances(light, lights)
        is_own = abs(times_s[:, None].astype(np.float64) - self._arrays.times_s) < MIN_REFERENCE_GAP_S - 1e-3
        total = to_numpy(distances) + np.float32(costs.own_mouth) * is_own.astype(np.float32)
        return np.asarray(total, np.float64)

    @property
    def _weights(self) -> Array:
        return get_namespace(self._motion).sqrt(compute_match_weights(self._decoder.mesh))

    def _convert(self, values: NDArray[Any]) -> Array:
        return convert_like(values, self._decoder.mesh.basis)

    def _measure(self) -> None:
        mesh, rest = self._decoder.mesh, self.speaker.rest
        self._motion = mesh.compute_motion(self.landmarks, rest)
        patches = self._convert(self._arrays.patches)
        self._appearance = normalize_appearance(project_patches(self._decoder.appearance_basis, patches))
        self._openings = self._measure_openings(self._motion)
        self._rest_appearance = estimate_rest_appearance(self._appearance, self._openings)
        self._rotation = estimate_rotation(self._decoder, self.speaker, self.landmarks)

    def _measure_openings(self, motion: Array) -> Array:
        """Measure the lip gaps [n] of motions [n k], relative to rest."""
        return motion @ measure_lip_gap(self._decoder.mesh.basis)

    def _sample_patches(self, first: int) -> F32:
        """Sample the patches of the mouths from `first` on."""
        mesh, crops = self._decoder.mesh, [source.crop for source in self.sources[first:]]
        places = compute_patch_places(mesh, self.landmarks[first:], self.speaker.rest)
        return sample_patches(np.stack(crops), to_numpy(places))

    def _thin(self) -> None:
        """Drop mouths similar to others when there are more than memory allows."""
        limit = min(BANK_COUNT, BANK_BYTES // int(self._arrays.nbytes.max()))
        if len(self.sources) <= limit:
            return
        count = round((1 - _REDUNDANT_SHARE) * limit)
        rotation = self._costs.pose**0.5 * _flatten(self._rotation)
        appearance = self._costs.appearance**0.5 * self._appearance
        features = get_namespace(rotation).concatenate([self._motion * self._weights, appearance, rotation], 1)
        self._select(sorted(sample_farthest(features, count)))
        self._measure()

    def _select(self, indices: list[int]) -> None:
        arrays = self._arrays
        for name in ("landmarks", "light", "patches", "times_s", "nbytes"):
            setattr(arrays, name, getattr(arrays, name)[indices])
        self.sources = [self.sources[i] for i in indices]


def _flatten(rotation: Array) -> Array:
    return rotation.reshape(len(rotation), -1)


def sample_farthest(features: Array, count: int) -> list[int]:
    """Sample rows of `features` [n d] by farthest-point sampling, beginning with the farthest from the mean."""
    indices = [int(square(features - features.mean(0)).sum(1).argmax())]
    distances = square(features - features[indices[0]]).sum(1)
    distances[indices[0]] = -1.0
    while len(indices) < min(count, len(features)):
        indices.append(int(distances.argmax()))
        distances = get_namespace(distances).minimum(distances, square(features - features[indices[-1]]).sum(1))
        distances[indices[-1]] = -1.0
    return indices


def estimate_rotation(decoder: MotionDecoder, speaker: Speaker, landmarks: Array) -> Array:
    """Estimate the rotation [n 3 3] of heads [n 468 3] from the speaker's rest shape."""
    rest = get_namespace(landmarks).broadcast_to(speaker.rest, landmarks.shape)
    return estimate_similarity(rest, landmarks, decoder.mesh.upper)[1]
