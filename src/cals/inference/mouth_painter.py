"""Painter for models that predict motion: the person's own mouths, warped to the predicted shape."""

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
from cals.face.skip_reasons import OCCLUDED
from cals.face.transfer import SourceFace
from cals.inference import painters
from cals.inference.face_cache import FaceRecorder, FaceReplay
from cals.inference.fade import compute_frame_strengths
from cals.inference.frame_tracker import TrackedFrame
from cals.inference.mouth_bank import MouthBank, estimate_rotation, measure_light
from cals.inference.mouth_blend import MouthBlend, compute_flows
from cals.inference.painters import Painter, ViewBatch, compute_unit_positions
from cals.inference.windows import UnitStream
from cals.models.cals import MeshLips
from cals.models.mesh import measure_lip_gap
from cals.models.sources import SourceCosts, choose_sources
from cals.models.speaker import replace_motion, retarget_motion
from cals.types import Patch

_LOOK_AHEAD_UNITS = 13
"""Units beyond the last frame that count when sources are chosen, about half a second."""
_SPEECH_RADIUS = 10
"""Units on either side of a frame in which speech is looked for."""
_GAIN_BLOCKS = 3
"""Blocks of units from which the gain is estimated, 24 s."""
_SPEECH_THRESHOLD, _MIN_SPEECH_UNITS = 0.5, 25
"""Speech activity from which a unit counts as speech, and how many such units the gain needs."""
_GAIN_RANGE = (0.8, 2.0)
_MAX_BATCH = 16
"""Frames added to a bank at once."""
_FADE_S = 0.1
"""Duration of the cross-fade from one source's mouth to the next."""
_CORRECTION = 0.75
"""Share of the landmark error that is corrected; with all of it long warps overshoot."""
_BANK = "bank"
"""Beginning of a bank's name in recordings; its track follows."""
_DETECT_EVERY = 8
"""Frames from one whose landmarks are detected to the next."""


class MouthPainter(Painter):
    """Gives each frame the person's own mouth nearest to the predicted motion, warped to its exact shape."""

    def __init__(
        self,
        model: MeshLips,
        units: Iterator[Tensor],
        ahead: Iterable[TrackedFrame],
        strength: float = 1.0,
        costs: SourceCosts | None = None,
        detector: FaceDetector | None = None,
        recording: FaceReplay | FaceRecorder | None = None,
    ) -> None:
        super().__init__()
        self._detector = detector
        self._timing, self._costs = model.mel.timing, costs or SourceCosts()
        self._decoder = copy.deepcopy(model.decoder).cpu()  # geometry runs on the CPU, whatever the network's device
        self._strength = strength
        self._banks, self._track = self._prepare_banks(ahead, recording), -1
        first_units = list(islice(units, _GAIN_BLOCKS))
        self._units = UnitStream(chain(first_units, units))
        self._gain = self._estimate_gain(torch.cat(first_units))
        self._source: SourceFace | None = None
        self._fading_source: tuple[SourceFace, Fraction] | None = None
        """The previous source, and when the cross-fade from it began."""
        self._last_error: NDArray[np.float32] | None = None
        """Landmark error of the previous frame as motion, [1 k]."""

    @torch.inference_mode()
    def _prepare_banks(
        self, ahead: Iterable[TrackedFrame], recording: FaceReplay | FaceRecorder | None
    ) -> dict[int, MouthBank]:
        """Restore the banks from a recording, or build them and record them."""
        if isinstance(recording, FaceReplay):
            return {
                int(track.removeprefix(_BANK)): MouthBank.from_arrays(self._decoder, self._costs, arrays)
                for track, arrays in recording.read_groups()
            }
        banks = self._build_banks(ahead)
        if recording is not None:
            for track, bank in banks.items():
                recording.write_group(f"{_BANK}{track}", bank.export_arrays())
        return banks

    def _build_banks(self, ahead: Iterable[TrackedFrame]) -> dict[int, MouthBank]:
        """Build a bank of mouths for each track in the look-ahead."""
        banks: dict[int, MouthBank] = {}
        # frames next to a covered one may be partly covered
        items = (item for item, strength in compute_frame_strengths(ahead, _is_uncovered) if strength == 1)
        with torch.inference_mode():
            for track, group in groupby(items, lambda item: item.face.track if item.view is not None else None):
                if track is None:
                    continue
                bank = banks.setdefault(track, MouthBank(self._decoder, self._costs))
                pairs = ((item.frame, item.view) for item in group if item.view is not None)
                for first in pairs:
                    bank.add([first, *islice(pairs, first[0].count_within(painters.BATCH_BYTES, _MAX_BATCH) - 1)])
            for bank in banks.values():
                bank.fit()
        return banks

    @torch.inference_mode()
    def _estimate_gain(self, units: Tensor) -> float:
        """Estimate the gain that brings the predicted motion to the average speaker's amplitude.

        A network that is unsure of its input, an unfamiliar voice or a noisy room, predicts less motion.
        """
        opening = self._decoder.predict_motion(units) @ measure_lip_gap(self._decoder.mesh.basis)
        is_speech = _compute_speech_activity(opening / self._decoder.opening_px) > _SPEECH_THRESHOLD
        if int(is_speech.sum()) < _MIN_SPEECH_UNITS:
            return 1.0
        gain = float(self._decoder.opening_px / opening[is_speech].std())
        return min(max(gain, _GAIN_RANGE[0]), _GAIN_RANGE[1])

    @torch.inference_mode()
    def _paint(self, track: int, batch: ViewBatch, strengths: list[float], found_again: bool) -> list[Patch]:
        bank = self._bank(track, batch, found_again)
        mesh, speaker = self._decoder.mesh, bank.speaker
        motion, future_motion = self._motion(bank, batch)
        landmarks = torch.stack([torch.from_numpy(view.landmarks) for _, view in batch])
        target = replace_motion(mesh, speaker, landmarks, motion)
        sources = self._choose(bank, batch, landmarks, torch.cat([motion, future_motion]))
        drawings = [
            MouthBlend(item, view, [bank.sources[i] for i in indices], bank.landmarks[indices], weights)
            for (item, view), (indices, weights) in zip(batch, self._blend_sources(bank, batch, sources), strict=True)
        ]
        if self._detector is not None:
            target = mesh.add_motion(
                target, speaker.rest, -self._estimate_correction(self._detector, bank, drawings, target)
            )
        flows = compute_flows(mesh, drawings, target)
        return [d.render_patch(*args) for d, *args in zip(drawings, target, flows, strengths, strict=True)]

    def _estimate_correction(
        self, detector: FaceDetector, bank: MouthBank, drawings: list[MouthBlend], target: Tensor
    ) -> Tensor:
        """Estimate the landmark error of the rendered faces as motion [t k], scaled for subtraction.

        It is detected every few frames and interpolated: it changes slowly, and detection costs as much as rendering.
        """
        mesh, rest = self._decoder.mesh, bank.speaker.rest
        last_index = len(drawings) - 1
        indices = sorted(
            {*range(_DETECT_EVERY - 1, last_index, _DETECT_EVERY), last_index}
            | ({0} if self._last_error is None else set())
        )
        selected, selected_target = [drawings[i] for i in indices], target[indices]
        detected = [
            d.detect_landmarks(detector, *args)
            for d, *args in zip(selected, selected_target, compute_flows(mesh, selected, selected_target), strict=True)
        ]
        errors = (mesh.compute_motion(torch.stack(detected), rest) - mesh.compute_motion(selected_target, rest)).numpy()
        if self._last_error is not None:
            indices, errors = [-1, *indices], np.concatenate([self._last_error, errors])
        self._last_error = errors[-1:]
        interpolated = np.stack([np.interp(range(len(drawings)), indices, curve) for curve in errors.T], axis=1)
        return _CORRECTION * torch.from_numpy(interpolated).float()

    def _bank(self, track: int, batch: ViewBatch, found_again: bool) -> MouthBank:
        if track != self._track:
            previous = self._banks.get(self._track)
            if track not in self._banks:
                known_bank = previous if previous is not None and found_again else None
                self._banks[track] = known_bank or MouthBank(self._decoder, self._costs)
            for old_track in [number for number in self._banks if number < track]:
                del self._banks[old_track]  # earlier tracks do not come back
            self._track, self._source, self._fading_source, self._last_error = track, None, None, None
        bank = self._banks[track]
        uncovered = [pair for pair in batch if _is_uncovered(pair[0])]
        bank.add([(item.frame, view) for item, view in (uncovered if uncovered or bank.sources else batch)])
        return bank

    def _motion(self, bank: MouthBank, batch: ViewBatch) -> tuple[Tensor, Tensor]:
        """Return this person's motion at the frames [t k], and in the units after them [_LOOK_AHEAD_UNITS k]."""
        positions = [max(position, Fraction(0)) for position in compute_unit_positions(self._timing, batch)]
        first, last = floor(min(positions)), ceil(max(positions)) + _LOOK_AHEAD_UNITS
        start = max(0, first - _SPEECH_RADIUS)
        units = self._units.slice(start, last)
        motion = self._decoder.predict_motion(units) * self._gain
        activity = _compute_speech_activity(
            (motion @ measure_lip_gap(self._decoder.mesh.basis)) / self._decoder.opening_px
        )
        person_motion = retarget_motion(self._decoder, bank.speaker, motion, activity, strength=self._strength)
        lower = torch.tensor([floor(position) - start for position in positions])
        fraction = torch.tensor([float(position - floor(position)) for position in positions])[:, None]
        return torch.lerp(person_motion[lower], person_motion[lower + 1], fraction), person_motion[-_LOOK_AHEAD_UNITS:]

    def _choose(self, bank: MouthBank, batch: ViewBatch, landmarks: Tensor, motion: Tensor) -> list[int]:
        """Choose the source of each frame; frames after them are assumed to have the last one's pose and light."""
        rotation = estimate_rotation(self._decoder, bank.speaker, landmarks)
        light = torch.stack([measure_light(view.crop) for _, view in batch])
        future_s = torch.arange(1, _LOOK_AHEAD_UNITS + 1) / self._timing.fps
        times_s = torch.tensor([float(item.frame.source_s) for item, _ in batch])
        padding = [part[-1:].expand(_LOOK_AHEAD_UNITS, *part.shape[1:]) for part in (rotation, light)]
        costs = bank.measure_costs(
            motion,
            torch.cat([rotation, padding[0]]),
            torch.cat([light, padding[1]]),
            torch.cat([times_s, times_s[-1] + future_s]),
        )
        previous = None if self._source is None else bank.find_index(self._source)
        return choose_sources(costs, bank.is_followed, self._costs.jump, previous)[: len(batch)]

    def _blend_sources(
        self, bank: MouthBank, batch: ViewBatch, sources: list[int]
    ) -> list[tuple[list[int], list[float]]]:
        """Return sources and their blend weights for each frame; after a jump the previous source fades out."""
        blends = []
        for (item, _), source in zip(batch, sources, strict=True):
            previous = None if self._source is None else bank.find_index(self._source)
            if self._source is not None and previous is not None and not bank.is_consecutive(previous, source):
                self._fading_source = (self._source, item.frame.time_s)
            self._source = bank.sources[source]
            blend = [source], [1.0]
            if self._fading_source is not None:
                fading, jump_s = bank.find_index(self._fading_source[0]), self._fading_source[1]
                fading_weight = 1 - float(item.frame.time_s + item.frame.duration_s - jump_s) / (_FADE_S + 1e-6)
                if fading is None or fading == source or fading_weight <= 0:
                    self._fading_source = None
                else:
                    blend = [source, fading], [1 - fading_weight, fading_weight]
            blends.append(blend)
        return blends


def _is_uncovered(item: TrackedFrame) -> bool:
    """Whether nothing covers the mouth, so that it can serve as a source."""
    return item.face.skip_reason != OCCLUDED


def _compute_speech_activity(opening: Tensor) -> Tensor:
    """Compute the speech activity around each unit, 0 to 1, from openings [t] in the average speaker's deviations."""
    return max_pool1d(opening[None, None].clamp(0, 1), 2 * _SPEECH_RADIUS + 1, 1, _SPEECH_RADIUS)[0, 0]
