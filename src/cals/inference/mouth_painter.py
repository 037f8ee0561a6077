"""Models that say motion: frames get the person's own mouths, brought to the shape that is said."""

import copy
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby, islice
from math import ceil, floor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool1d

from cals.face.detector import FaceDetector
from cals.face.hindrance import COVERED
from cals.face.transfer import SourceFace
from cals.inference import painters
from cals.inference.drawing import Drawing, flows_of
from cals.inference.fade import frame_strengths
from cals.inference.mouths import MouthBank, measure_light, measure_turn
from cals.inference.painters import Painter, Seen, unit_positions
from cals.inference.tracked import TrackedFrame
from cals.inference.windows import UnitTrack
from cals.models.mesh import lip_gap
from cals.models.sources import SourceCosts, choose_sources
from cals.models.speaker import move_face, speak_as
from cals.models.speaking import MeshLips
from cals.types import Patch

_AHEAD = 13
"""Units beyond the last frame for which sources are weighed, about half a second."""
_AROUND = 10
"""Units on either side in which speech counts as around a frame."""
_EARLY_BLOCKS = 3
"""Blocks of units by which a speech is judged, 24 s."""
_SPEECH, _LEAST_SPEECH = 0.5, 25
"""From this much speech around on a unit counts as speech, and so many are needed to judge by."""
_DELIVERY = (0.8, 2.0)
_AT_ONCE = 16
"""Frames that are taken into a bank at once."""
_FADE_S = 0.1
"""Time in which one source's mouth goes over into the next one's."""
_CORRECTION = 0.75
"""How much of what is read otherwise than meant is taken back; with all of it long warps overshoot."""
_READ_EVERY = 8
"""Frames from one that is read to the next."""


class MouthPainter(Painter):
    """Gives each frame the person's own mouth that is nearest to the motion said, brought to its very shape."""

    def __init__(
        self,
        model: MeshLips,
        units: Iterator[Tensor],
        ahead: Iterable[TrackedFrame],
        strength: float = 1.0,
        costs: SourceCosts | None = None,
        detector: FaceDetector | None = None,
    ) -> None:
        super().__init__()
        self._detector = detector
        self._timing, self._costs = model.mel.timing, costs or SourceCosts()
        self._decoder = copy.deepcopy(model.decoder).cpu()  # geometry is the CPU's wherever the network hears
        self._strength = strength
        self._banks, self._track = self._look(ahead), -1
        early = list(islice(units, _EARLY_BLOCKS))
        self._units = UnitTrack(chain(early, units))
        self._delivery = self._fit_delivery(torch.cat(early))
        self._source: SourceFace | None = None
        self._fading: tuple[SourceFace, Fraction] | None = None
        """The source before, and when it was left."""
        self._read_last: NDArray[np.float32] | None = None
        """How the frame before read otherwise than meant, [1 k]."""

    def _look(self, ahead: Iterable[TrackedFrame]) -> dict[int, MouthBank]:
        """Banks by track of what a look ahead shows."""
        banks: dict[int, MouthBank] = {}
        # frames right before and after a covered one may be covered a little
        items = (item for item, strength in frame_strengths(ahead, _is_bare) if strength == 1)
        with torch.inference_mode():
            for track, group in groupby(items, lambda item: item.face.track if item.view is not None else None):
                if track is None:
                    continue
                bank = banks.setdefault(track, MouthBank(self._decoder, self._costs))
                seen = ((item.frame, item.view) for item in group if item.view is not None)
                for first in seen:
                    bank.add([first, *islice(seen, first[0].count_within(painters.BATCH_BYTES, _AT_ONCE) - 1)])
            for bank in banks.values():
                bank.fit()
        return banks

    @torch.inference_mode()
    def _fit_delivery(self, units: Tensor) -> float:
        """By how much the motion said for this sound falls short of the average speaker's span, as a factor.

        The less sure a network is of what it hears, in a strange voice or a noisy room, the less it says.
        """
        opening = self._decoder.motion(units) @ lip_gap(self._decoder.mesh.basis)
        speech = _speech_around(opening / self._decoder.opening_px) > _SPEECH
        if int(speech.sum()) < _LEAST_SPEECH:
            return 1.0
        found = float(self._decoder.opening_px / opening[speech].std())
        return min(max(found, _DELIVERY[0]), _DELIVERY[1])

    @torch.inference_mode()
    def _paint(self, track: int, seen: Seen, strengths: list[float], found_again: bool) -> list[Patch]:
        bank = self._bank(track, seen, found_again)
        mesh, speaker = self._decoder.mesh, bank.speaker
        motion, ahead = self._motion(bank, seen)
        landmarks = torch.stack([torch.from_numpy(view.landmarks) for _, view in seen])
        target = move_face(mesh, speaker, landmarks, motion)
        path = self._choose(bank, seen, landmarks, torch.cat([motion, ahead]))
        drawings = [
            Drawing(item, view, [bank.sources[i] for i in sources], bank.landmarks[sources], shares)
            for (item, view), (sources, shares) in zip(seen, self._fade(bank, seen, path), strict=True)
        ]
        if self._detector is not None:
            target = mesh.moved(target, speaker.rest, -self._misread(self._detector, bank, drawings, target))
        flows = flows_of(mesh, drawings, target)
        return [d.patch(*to) for d, *to in zip(drawings, target, flows, strengths, strict=True)]

    def _misread(self, detector: FaceDetector, bank: MouthBank, drawings: list[Drawing], target: Tensor) -> Tensor:
        """By how much faces would read otherwise than meant once drawn, as motion [t k] to take back.

        Read every few frames and linear in between: it changes slowly, and reading costs as much as drawing.
        """
        mesh, rest = self._decoder.mesh, bank.speaker.rest
        last = len(drawings) - 1
        at = sorted({*range(_READ_EVERY - 1, last, _READ_EVERY), last} | ({0} if self._read_last is None else set()))
        some, meant = [drawings[i] for i in at], target[at]
        read = [d.read(detector, *to) for d, *to in zip(some, meant, flows_of(mesh, some, meant), strict=True)]
        misread = (mesh.motion(torch.stack(read), rest) - mesh.motion(meant, rest)).numpy()
        if self._read_last is not None:
            at, misread = [-1, *at], np.concatenate([self._read_last, misread])
        self._read_last = misread[-1:]
        between = np.stack([np.interp(range(len(drawings)), at, curve) for curve in misread.T], axis=1)
        return _CORRECTION * torch.from_numpy(between).float()

    def _bank(self, track: int, seen: Seen, found_again: bool) -> MouthBank:
        if track != self._track:
            before = self._banks.get(self._track)
            if track not in self._banks:
                kept = before if before is not None and found_again else None
                self._banks[track] = kept or MouthBank(self._decoder, self._costs)
            for earlier in [name for name in self._banks if name < track]:
                del self._banks[earlier]  # earlier tracks do not come back
            self._track, self._source, self._fading, self._read_last = track, None, None, None
        bank = self._banks[track]
        bare = [pair for pair in seen if _is_bare(pair[0])]
        bank.add([(item.frame, view) for item, view in (bare if bare or bank.sources else seen)])
        return bank

    def _motion(self, bank: MouthBank, seen: Seen) -> tuple[Tensor, Tensor]:
        """This person's motion at the frames [t k], and in the units after the last one [_AHEAD k]."""
        positions = [max(position, Fraction(0)) for position in unit_positions(self._timing, seen)]
        first, last = floor(min(positions)), ceil(max(positions)) + _AHEAD
        early = max(0, first - _AROUND)
        units = self._units.window(early, last)
        motion = self._decoder.motion(units) * self._delivery
        around = _speech_around((motion @ lip_gap(self._decoder.mesh.basis)) / self._decoder.opening_px)
        own = speak_as(self._decoder, bank.speaker, motion, around, strength=self._strength)
        below = torch.tensor([floor(position) - early for position in positions])
        share = torch.tensor([float(position - floor(position)) for position in positions])[:, None]
        return torch.lerp(own[below], own[below + 1], share), own[-_AHEAD:]

    def _choose(self, bank: MouthBank, seen: Seen, landmarks: Tensor, motion: Tensor) -> list[int]:
        """The source of each frame; what comes after them is thought to have the last one's pose and light."""
        turn = measure_turn(self._decoder, bank.speaker, landmarks)
        light = torch.stack([measure_light(view.crop) for _, view in seen])
        later = torch.arange(1, _AHEAD + 1) / self._timing.fps
        times_s = torch.tensor([float(item.frame.source_s) for item, _ in seen])
        more = [part[-1:].expand(_AHEAD, *part.shape[1:]) for part in (turn, light)]
        costs = bank.measure_costs(
            motion, torch.cat([turn, more[0]]), torch.cat([light, more[1]]), torch.cat([times_s, times_s[-1] + later])
        )
        before = None if self._source is None else bank.index(self._source)
        return choose_sources(costs, bank.neighbours, self._costs.jump, before)[: len(seen)]

    def _fade(self, bank: MouthBank, seen: Seen, path: list[int]) -> list[tuple[list[int], list[float]]]:
        """Sources and their shares for each frame: after a jump the source before lends a falling share."""
        parts = []
        for (item, _), source in zip(seen, path, strict=True):
            before = None if self._source is None else bank.index(self._source)
            if self._source is not None and before is not None and not bank.is_next(before, source):
                self._fading = (self._source, item.frame.time_s)
            self._source = bank.sources[source]
            part = [source], [1.0]
            if self._fading is not None:
                old, since_s = bank.index(self._fading[0]), self._fading[1]
                left = 1 - float(item.frame.time_s + item.frame.duration_s - since_s) / (_FADE_S + 1e-6)
                if old is None or old == source or left <= 0:
                    self._fading = None
                else:
                    part = [source, old], [1 - left, left]
            parts.append(part)
        return parts


def _is_bare(item: TrackedFrame) -> bool:
    """Whether a frame may lend its mouth: nothing is before it."""
    return item.face.hindrance != COVERED


def _speech_around(opening: Tensor) -> Tensor:
    """How much speech there is around each unit, 0 to 1, from openings [t] in the average speaker's deviations."""
    return max_pool1d(opening[None, None].clamp(0, 1), 2 * _AROUND + 1, 1, _AROUND)[0, 0]
