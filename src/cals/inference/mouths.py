"""A person's own mouths, kept to speak with: some hundred frames that cover how they move and turn."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.face.transfer import SourceFace, keep_source
from cals.inference.tracked import View
from cals.media.frame import Frame
from cals.models.lips import OWN_S
from cals.models.mesh import similarity
from cals.models.motion import MeshDecoder
from cals.models.sources import SourceCosts
from cals.models.speaker import Speaker, fit_speaker, match_weights
from cals.types import U8

BANK_BYTES = 96 * 2**20
"""Memory for one person's mouths."""
BANK_COUNT = 600
_MOST_REDUNDANT = 0.1
"""Share of the mouths that is given up when there are too many: those that are most like another one."""
_NEIGHBOUR_S = 0.13
"""Frames no further apart in time are consecutive: the mouth goes on as it really did."""
_FIT_S = 20.0
"""A person's rest and span are those of so much of the video; later frames lend their mouths, but change no more."""
_LIGHT = np.s_[70:120, 30:98]
"""Where in a crop of 128 its light is measured."""


@dataclass
class _Arrays:
    """One row a mouth, in order of time."""

    landmarks: Tensor = field(default_factory=lambda: torch.zeros(0, 468, 3))
    light: Tensor = field(default_factory=lambda: torch.zeros(0, 3))
    times_s: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))


class MouthBank:
    """One person's mouths and what they tell of how this person moves."""

    def __init__(self, decoder: MeshDecoder, costs: SourceCosts) -> None:
        self._decoder, self._costs = decoder, costs
        self._arrays = _Arrays()
        self.sources: list[SourceFace] = []
        self._first_s, self._latest_s = math.inf, -math.inf
        self._seen: list[Tensor] = []
        self._fitted = 0
        self._speaker: Speaker | None = None
        self._motion, self._turn = torch.zeros(0), torch.zeros(0)

    def add(self, items: list[tuple[Frame, View]]) -> None:
        """Take in frames, unless they are shown again, as all of a photo's are."""
        new: list[tuple[Frame, View]] = []
        for frame, view in items:
            if float(frame.source_s) > self._latest_s:
                self._latest_s = float(frame.source_s)
                new.append((frame, view))
        if not new:
            return
        self._first_s = min(self._first_s, float(new[0][0].source_s))
        landmarks = torch.stack([torch.from_numpy(view.landmarks) for _, view in new])
        if self._latest_s - self._first_s <= _FIT_S:
            self._seen += list(landmarks)
        held = self._arrays
        held.landmarks = torch.cat([held.landmarks, landmarks])
        held.light = torch.cat([held.light, torch.stack([measure_light(view.crop) for _, view in new])])
        times_s = torch.tensor([float(frame.source_s) for frame, _ in new], dtype=torch.float64)
        held.times_s = torch.cat([held.times_s, times_s])
        self.sources += [keep_source(frame, view.transform, view.crop) for frame, view in new]
        if self._speaker is None or len(self._seen) >= 2 * self._fitted:
            self.fit()
        else:
            self._measure()
        self._thin()

    def fit(self) -> None:
        """Take this person's rest and span from all frames seen so far."""
        if self._fitted != len(self._seen):
            self._fitted = len(self._seen)
            self._speaker = fit_speaker(self._decoder, torch.stack(self._seen))
            self._measure()

    @property
    def speaker(self) -> Speaker:
        assert self._speaker is not None, "a bank without mouths"
        return self._speaker

    @property
    def landmarks(self) -> Tensor:
        """[n 468 3] in crop pixels."""
        return self._arrays.landmarks

    def index(self, source: SourceFace) -> int | None:
        """Where a source stands in the list, None once it was given up."""
        return next((i for i, held in enumerate(self.sources) if held is source), None)

    def is_next(self, one: int, other: int) -> bool:
        """Whether two sources are the same or come right after one another in the video."""
        times_s = self._arrays.times_s
        return abs(one - other) <= 1 and float((times_s[one] - times_s[other]).abs()) <= _NEIGHBOUR_S

    @property
    def neighbours(self) -> NDArray[np.bool_]:
        """[n - 1], whether each mouth's successor comes right after it in the video."""
        return (self._arrays.times_s.diff() <= _NEIGHBOUR_S).numpy()

    def measure_costs(self, motion: Tensor, turn: Tensor, light: Tensor, times_s: Tensor) -> NDArray[np.float64]:
        """What each mouth would cost, [t n], for motions [t k], turns [t 3 3], lights [t 3] at source times [t]."""
        costs = self._costs
        weights = match_weights(self._decoder.mesh).sqrt()
        away = torch.cdist(motion * weights, self._motion * weights).square()
        away += costs.pose * torch.cdist(turn.flatten(1), self._turn.flatten(1)).square()
        away += costs.light * torch.cdist(light, self._arrays.light).square()
        near = (times_s[:, None].double() - self._arrays.times_s).abs() < OWN_S - 1e-3
        return (away + costs.own * near).double().numpy()

    def _measure(self) -> None:
        mesh, rest = self._decoder.mesh, self.speaker.rest
        self._motion = mesh.motion(self.landmarks, rest)
        self._turn = measure_turn(self._decoder, self.speaker, self.landmarks)

    def _thin(self) -> None:
        """Give up mouths that are like others when there are more than memory allows."""
        most = min(BANK_COUNT, BANK_BYTES // max(source.bytes for source in self.sources))
        if len(self.sources) <= most:
            return
        keep = round((1 - _MOST_REDUNDANT) * most)
        weights = match_weights(self._decoder.mesh).sqrt()
        features = torch.cat([self._motion * weights, self._costs.pose**0.5 * self._turn.flatten(1)], dim=1)
        self._keep(torch.tensor(sorted(spread_out(features, keep))))
        self._measure()

    def _keep(self, order: Tensor) -> None:
        held = self._arrays
        held.landmarks, held.light, held.times_s = held.landmarks[order], held.light[order], held.times_s[order]
        self.sources = [self.sources[i] for i in order.tolist()]


def spread_out(features: Tensor, count: int) -> list[int]:
    """Rows of `features` [n d] that cover it: each next one is the farthest from all chosen before."""
    chosen = [int((features - features.mean(dim=0)).square().sum(dim=1).argmax())]
    away = (features - features[chosen[0]]).square().sum(dim=1)
    away[chosen[0]] = -1.0
    while len(chosen) < min(count, len(features)):
        chosen.append(int(away.argmax()))
        away = torch.minimum(away, (features - features[chosen[-1]]).square().sum(dim=1))
        away[chosen[-1]] = -1.0
    return chosen


def measure_light(crop: U8) -> Tensor:
    """Mean colour [3] of a crop's lower face, in 0..1."""
    return torch.from_numpy(crop[_LIGHT].mean(axis=(0, 1)).astype(np.float32)) / 255


def measure_turn(decoder: MeshDecoder, speaker: Speaker, landmarks: Tensor) -> Tensor:
    """How heads [n 468 3] are turned against their rest, as rotation matrices [n 3 3]."""
    rest = speaker.rest.expand_as(landmarks)
    return similarity(rest, landmarks, decoder.mesh.upper)[1]
