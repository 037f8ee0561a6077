"""Painter for models that predict motion: the person's own mouths, warped to the predicted shape."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import groupby, islice
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from cals.arrays import Array, convert_like, get_namespace, lerp, to_numpy
from cals.face.detector import FaceDetector
from cals.face.paste import EMPTY_PATCH
from cals.face.patches import measure_light
from cals.face.skip_reasons import OCCLUDED
from cals.face.transfer import SourceFace
from cals.inference import painters
from cals.inference.face_cache import FaceRecorder, FaceReplay
from cals.inference.fade import compute_frame_strengths
from cals.inference.frame_tracker import TrackedFrame
from cals.inference.motion_gain import SPEECH_RADIUS, MotionGain, compute_speech_activity
from cals.inference.mouth_bank import MouthBank, estimate_rotation
from cals.inference.mouth_blend import MouthBlend, compute_flows
from cals.inference.painters import Painter, ViewBatch, compute_unit_positions
from cals.inference.schedule import Schedule
from cals.inference.windows import UnitSource, open_units
from cals.media.opening import count_threads
from cals.models.network import MotionNetwork
from cals.models.sources import MOTION_ONLY, SourceCosts, choose_sources
from cals.models.speaker import replace_motion, retarget_motion
from cals.types import F32, Patch

_MAX_BATCH = 16
"""Frames added to a bank at once."""
_FADE_S = 0.08
"""Duration of the cross-fade from one source's mouth to the next."""
_CORRECTION = 0.75
"""Share of the landmark error that is corrected; with all of it long warps overshoot."""
_BANK = "bank"
"""Beginning of a bank's name in recordings; its track follows."""
_DETECT_EVERY = 8
"""Frames from one whose landmarks are detected to the next."""
_DRAWING_THREADS = 2
"""Drawing takes as long as tracking, decoding and encoding, which have threads of their own."""


class MouthPainter(Painter):
    """Gives each frame the person's own mouth nearest to the predicted motion, warped to its exact shape."""

    def __init__(
        self,
        model: MotionNetwork,
        units: Iterator[Array] | UnitSource,
        ahead: Iterable[TrackedFrame],
        strength: float | Schedule = 1.0,
        costs: SourceCosts | None = None,
        detector: FaceDetector | None = None,
        recording: FaceReplay | FaceRecorder | None = None,
    ) -> None:
        super().__init__()
        self._detector = detector
        self._timing, self._decoder = model.mel.timing, model.build_decoder()
        self._costs = costs or (SourceCosts() if len(self._decoder.appearance_basis) else MOTION_ONLY)
        self._strength = strength
        self._banks, self._track = self._prepare_banks(ahead, recording), -1
        self._units, self._gain = open_units(units), MotionGain(self._decoder)
        self._look_ahead, self._first_unit = self._units.look_ahead, 0
        if self._look_ahead.gain:
            self._estimate_gain()
        self._source: SourceFace | None = None
        self._fading_source: tuple[SourceFace, Fraction] | None = None
        """The previous source, and when the cross-fade from it began."""
        self._last_error: NDArray[np.float32] | None = None
        """Landmark error of the previous frame as motion, [1 k]."""

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

    def _estimate_gain(self) -> None:
        """Estimate the gain from the beginning of the speech."""
        start_s = self._strength.start_s if isinstance(self._strength, Schedule) else Fraction(0)
        first = floor(start_s * self._timing.fps)
        self._first_unit = max(0, first - SPEECH_RADIUS - 1)
        units = self._units.slice(self._first_unit, first + self._look_ahead.gain - 1)[first - self._first_unit :]
        self._gain.observe(first, self._decoder.predict_motion(units))

    def _paint(self, track: int, batch: ViewBatch, strengths: list[float], found_again: bool) -> list[Patch]:
        bank = self._bank(track, batch, found_again)
        if not any(strengths):
            self._last_error = None
            first = floor(min(compute_unit_positions(self._timing, batch))) - SPEECH_RADIUS
            self._first_unit = max(first, self._first_unit)
            self._units.slice(self._first_unit, self._first_unit)  # what comes before is never asked for again
            return [EMPTY_PATCH] * len(batch)
        mesh, speaker = self._decoder.mesh, bank.speaker
        motion, appearance = self._predict(bank, batch)
        landmarks = convert_like(np.stack([view.landmarks for _, view in batch]), mesh.basis)
        target = replace_motion(mesh, speaker, landmarks, motion[: len(batch)])
        sources = self._choose(bank, batch, landmarks, motion, appearance)
        drawings = [
            MouthBlend(item, view, [bank.sources[i] for i in indices], bank.landmarks[indices], weights)
            for (item, view), (indices, weights) in zip(batch, self._blend_sources(bank, batch, sources), strict=True)
        ]
        if self._detector is not None:
            target = mesh.add_motion(
                target, speaker.rest, -self._estimate_correction(self._detector, bank, drawings, target)
            )
        flows = compute_flows(mesh, drawings, target)
        with ThreadPoolExecutor(min(_DRAWING_THREADS, count_threads())) as pool:  # cheap to start for a batch
            tasks = [
                pool.submit(drawing.render_patch, *arguments)
                for drawing, *arguments in zip(drawings, target, flows, strengths, strict=True)
            ]
            return [task.result() for task in tasks]

    def _estimate_correction(
        self, detector: FaceDetector, bank: MouthBank, drawings: list[MouthBlend], target: Array
    ) -> Array:
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
        found = convert_like(np.stack(detected), target)
        errors = to_numpy(mesh.compute_motion(found, rest) - mesh.compute_motion(selected_target, rest))
        if self._last_error is not None:
            indices, errors = [-1, *indices], np.concatenate([self._last_error, errors])
        self._last_error = errors[-1:]
        interpolated = np.stack([np.interp(range(len(drawings)), indices, curve) for curve in errors.T], axis=1)
        return _CORRECTION * convert_like(interpolated.astype(np.float32), target)

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

    def _predict(self, bank: MouthBank, batch: ViewBatch) -> tuple[Array, Array]:
        """Return this person's motion [t + n, k] and appearance [t + n, j].

        They are those of the frames, and of the n units of the look-ahead after them.
        """
        positions = [max(position, Fraction(0)) for position in compute_unit_positions(self._timing, batch)]
        ahead = self._look_ahead.sources
        first, last = floor(min(positions)), ceil(max(positions)) + ahead
        start = max(0, first - SPEECH_RADIUS)
        units = self._units.slice(start, last)
        motion, appearance = self._decoder.predict(units)
        if not self._look_ahead.gain:
            self._gain.observe(start, motion[:-ahead])
        motion = motion * self._gain.value
        activity = compute_speech_activity(self._decoder, motion)
        strength = self._get_strengths(start, len(motion))
        person_motion = retarget_motion(self._decoder, bank.speaker, motion, activity, strength=strength)
        person_appearance = bank.retarget_appearance(appearance, convert_like(strength, motion).clip(0, 1) * activity)
        lower = np.array([floor(position) - start for position in positions])
        fraction = np.array([[float(position - floor(position))] for position in positions], np.float32)
        weight = convert_like(fraction, motion)

        def sample(curves: Array) -> Array:
            between = lerp(curves[lower], curves[lower + 1], weight)
            return get_namespace(curves).concatenate([between, curves[-ahead:]])

        return sample(person_motion), sample(person_appearance)

    def _get_strengths(self, first: int, count: int) -> F32:
        """Return the strength [count] of the units from `first` on."""
        if not isinstance(self._strength, Schedule):
            return np.full(count, self._strength, np.float32)
        times_s = (Fraction(2 * unit + 1, 2 * self._timing.fps) for unit in range(first, first + count))
        return np.array([self._strength.get_strength(time_s) for time_s in times_s], np.float32)

    def _choose(
        self, bank: MouthBank, batch: ViewBatch, landmarks: Array, motion: Array, appearance: Array
    ) -> list[int]:
        """Choose the source of each frame; frames after them are assumed to have the last one's pose and light."""
        rotation = estimate_rotation(self._decoder, bank.speaker, landmarks)
        light = np.stack([measure_light(view.crop) for _, view in batch])
        ahead = self._look_ahead.sources
        future_s = np.arange(1, ahead + 1, dtype=np.float32) / np.float32(self._timing.fps)
        times_s = np.array([float(item.frame.source_s) for item, _ in batch], np.float32)
        last_rotations = [rotation[-1:]] * ahead
        costs = bank.measure_costs(
            motion,
            appearance,
            get_namespace(rotation).concatenate([rotation, *last_rotations]),
            np.concatenate([light, *([light[-1:]] * ahead)]),
            np.concatenate([times_s, times_s[-1] + future_s]),
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
