"""Scores of the methods from records of every frame: the same frames for all, means over clips, intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cals.evaluation.offsets import find_longest_run
from cals.evaluation.outputs import REAL
from cals.evaluation.protocol.frame_records import WINDOW, FrameRecord
from cals.evaluation.protocol.pair_scorer import MIN_FRAMES
from cals.evaluation.protocol.pairs import Kind, Pair
from cals.evaluation.protocol.roll_scores import find_target_frames, score_roll
from cals.evaluation.scores import MIN_SILENT, compute_sharpness
from cals.inference.score import MIN_WINDOWS
from cals.metrics.bootstrap import Estimate, estimate_mean
from cals.metrics.closures import MARGIN_S, MAX_CLOSED_OPENING, Interval
from cals.metrics.frechet import frechet_distance
from cals.metrics.landmarks import landmark_distance
from cals.metrics.lse import lse_from_distances
from cals.metrics.motion import correlation, jitter
from cals.metrics.offset import MAX_IN_STEP_OFFSET
from cals.types import F32


class Measure(NamedTuple):
    """A column of the tables."""

    title: str
    meaning: str
    best: float
    """The perfect value: infinite where higher, or lower, is always better; NaN where there is none."""
    digits: int
    kinds: tuple[Kind, ...]


_SELF: tuple[Kind, ...] = ("self",)
_ROLLED: tuple[Kind, ...] = ("rolled",)
_KNOWN: tuple[Kind, ...] = ("self", "rolled")
_ALL: tuple[Kind, ...] = ("self", "cross", "rolled")
HIGHER, LOWER = math.inf, -math.inf
MEASURES = {
    "psnr": Measure("PSNR", "of the 128 px crop, in dB", HIGHER, 2, _SELF),
    "ssim": Measure("SSIM", "of the 128 px crop", HIGHER, 3, _SELF),
    "psnr_lips": Measure("mouth PSNR", "of the outer lips and 4 px around, in dB", HIGHER, 2, _SELF),
    "ssim_lips": Measure("mouth SSIM", "of the upright box around that region", HIGHER, 3, _SELF),
    "lmd": Measure("LMD", "distance of 20 lip points in crop pixels, their mean place taken off", LOWER, 3, _SELF),
    "lmd_dlib": Measure("LMD, dlib", "the same by the points of dlib's predictor", LOWER, 3, _SELF),
    "opening": Measure("opening r", "Pearson correlation of mouth opening with the real one", HIGHER, 3, _KNOWN),
    "width": Measure("width r", "Pearson correlation of mouth width with the real one", HIGHER, 3, _KNOWN),
    "leak": Measure(
        "leak",
        "correlation of the opening with the one that the face has at that moment in the clip, less what that one has "
        "with the one to be said",
        0,
        3,
        _ROLLED,
    ),
    "span": Measure("span", "standard deviation of the opening over the real one's", 1, 2, _ROLLED),
    "sharpness": Measure("sharpness", "gradient energy of the mouth over the real one's", 1, 2, _KNOWN),
    "jitter": Measure("jitter", "second difference of the lip points over the real one's", 1, 2, _KNOWN),
    "flicker": Measure(
        "flicker", "change of the pixels within the outer lips from frame to frame over the real one's", 1, 2, _ROLLED
    ),
    "closures": Measure(
        "closures",
        f"share of /p b m/ in which the lips are open by less than {MAX_CLOSED_OPENING:g} of their median at "
        "some moment "
        f"from {1000 * MARGIN_S:.0f} ms before to {1000 * MARGIN_S:.0f} ms after; compare with the real clips' share",
        math.nan,
        2,
        _ROLLED,
    ),
    "silence": Measure(
        "open in silence",
        "how much wider than really the mouth is open before the first word, in inter-ocular distances; where the "
        "words are known",
        0,
        3,
        _SELF,
    ),
    "lse_d": Measure("LSE-D", "distance of sound and lips at the best shift", LOWER, 3, _ALL),
    "lse_c": Measure("LSE-C", "how far below the median over all shifts that is", HIGHER, 3, _ALL),
    "offset": Measure("offset", "the best shift in frames of 40 ms; > 0: the sound comes late", 0, 2, _ALL),
    "in_step": Measure("in step", "share of clips whose best shift is one frame at most", HIGHER, 2, _ALL),
    "identity": Measure("identity", "similarity to the real face, by gradients of the inner face", HIGHER, 3, _ALL),
    "compute": Measure("compute", "seconds of processor time, all threads, for a second of video", LOWER, 2, _ROLLED),
    "wrapped_psnr": Measure(
        "wrapped PSNR", "PSNR with differences that wrap around at 256, only for old tables", HIGHER, 2, _SELF
    ),
}
REAL_MEASURES = ("lse_d", "lse_c", "offset", "in_step", "identity")
"""Measures that the real clips have too."""


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """Scores of one pair, and the frames that all methods were scored on."""

    pair: Pair
    frames: int = 0
    used: int = 0
    without_face: dict[str, int] = field(default_factory=dict)
    """Method -> frames in which it shows no face, or left it unchanged; dropped for every method alike."""
    failed: dict[str, str] = field(default_factory=dict)
    """Method -> reason why it has no values."""
    left_out: str = ""
    """Reason why no method has values."""
    aligned_alone: tuple[str, ...] = ()
    """Methods whose frames have another size than the real ones."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


Features = dict[str, tuple[F32, F32]]
"""Method -> features [n d] of its windows and of the real ones."""


def score_pair(
    pair: Pair,
    records: Mapping[str, FrameRecord],
    failed: Mapping[str, str],
    left_out: str,
    bilabials: Sequence[Interval] | None = None,
) -> tuple[PairResult, Features]:
    """Score every method on the frames that all of them have; returns features for the Frechet distance too.

    `bilabials` are the times of lip closures in the sound of a rolled pair, where they are known. A method with fewer
    than `MIN_FRAMES` frames of its own has failed, and the other methods keep theirs.
    """
    if left_out or REAL not in records:
        return PairResult(pair=pair, failed=dict(failed), left_out=left_out or "the real clip was not measured"), {}
    failures, real = dict(failed), records[REAL]
    counts = {name: int((record.valid & real.valid).sum()) for name, record in records.items()}
    failures |= {
        name: f"a face, drawn in full, in {number} of {real.valid.sum()} frames"
        for name, number in counts.items()
        if number < MIN_FRAMES and name != REAL
    }
    kept = {name: record for name, record in records.items() if name not in failures}
    use = np.all([record.valid for record in kept.values()], axis=0)
    use &= find_target_frames(real) >= 0 if pair.kind == "rolled" else True
    frames, used = len(use), int(use.sum())
    result = PairResult(
        pair=pair,
        frames=frames,
        used=used,
        without_face={name: int((~record.valid).sum()) for name, record in records.items()},
        failed=failures,
        left_out="" if used >= MIN_FRAMES else f"all methods show a face in {used} of {frames} frames",
        aligned_alone=tuple(name for name, record in kept.items() if record.has_own_alignment),
    )
    if result.left_out or len(kept) < 2:
        return result, {}
    for name, record in kept.items():
        result.scores[name] = _compute_scores(pair.kind, record, real, use)
        if pair.kind == "rolled":
            result.scores[name] |= score_roll(record, real, use, bilabials)
    return result, {name: _select_features(record, real, use) for name, record in kept.items() if name != REAL}


def _compute_scores(kind: Kind, generated: FrameRecord, real: FrameRecord, use: NDArray[np.bool_]) -> dict[str, float]:
    values = {name: column[use] for name, column in generated.values.items()}
    scores = {"identity": float(values["identity"].mean())}
    if kind == "self" and generated is not real:
        names = ("psnr", "ssim", "psnr_lips", "ssim_lips", "wrapped_psnr")
        scores |= {name: float(np.nanmean(values[name])) for name in names}
        scores["sharpness"] = compute_sharpness(float(values["energy"].mean()), float(values["true_energy"].mean()))
        scores["lmd"] = landmark_distance(generated.lips[use], real.lips[use])
        if np.isfinite(generated.dlib_lips[use]).all():
            scores["lmd_dlib"] = landmark_distance(generated.dlib_lips[use], real.dlib_lips[use])
        scores |= {name: correlation(values[name], real.values[name][use]) for name in ("opening", "width")}
        first, count = find_longest_run(use)
        if count >= 3:
            run = slice(first, first + count)
            scores["jitter"] = jitter(generated.lips[run], real.lips[run])
        silent = values["silent"] > 0
        if silent.sum() >= MIN_SILENT:
            scores["silence"] = float((values["opening"] - real.values["opening"][use])[silent].mean())
    return scores | _compute_lse(generated, use)


def _compute_lse(generated: FrameRecord, use: NDArray[np.bool_]) -> dict[str, float]:
    """Compute LSE over the windows whose frames all count."""
    is_used = use[generated.frame_of]
    side = WINDOW // 2
    is_whole = np.zeros(len(is_used), bool)
    if len(is_used) >= WINDOW:
        is_whole[side:-side] = np.lib.stride_tricks.sliding_window_view(is_used, WINDOW).all(axis=1)
    distances = generated.distances[is_whole & np.isfinite(generated.distances).all(axis=1)]
    if len(distances) < MIN_WINDOWS:
        return {}
    lse = lse_from_distances(distances)
    in_step = float(abs(lse.offset_frames) <= MAX_IN_STEP_OFFSET)
    return {
        "lse_d": lse.lse_d,
        "lse_c": lse.lse_c,
        "offset": float(lse.offset_frames),
        "in_step": in_step,
    }


def _select_features(generated: FrameRecord, real: FrameRecord, use: NDArray[np.bool_]) -> tuple[F32, F32]:
    blocks = generated.frame_of[: len(generated.features) * WINDOW].reshape(-1, WINDOW)
    is_whole = use[blocks].all(axis=1)
    if not is_whole.any():
        return np.zeros((0, 1), np.float32), np.zeros((0, 1), np.float32)
    return generated.features[is_whole], real.features[is_whole]


class Cell(NamedTuple):
    """Estimate of a measure of one method in one part."""

    estimate: Estimate
    clips: int
    values: tuple[float, ...]


@dataclass
class Table:
    """Scores of all methods for one part and kind of pairs."""

    part: str
    kind: Kind
    pairs: int
    judged: int
    rows: dict[str, dict[str, Cell]]
    """Method -> measure -> value."""
    frechet: dict[str, tuple[float, int]]
    """Method -> distance to the real windows, and the number of windows of each."""
    failed: dict[str, int]

    @property
    def nearest(self) -> set[str]:
        """Methods with the smallest Frechet distance, among those with the most windows if these are several."""
        max_windows = max((windows for _, windows in self.frechet.values()), default=0)
        comparable = {name: distance for name, (distance, windows) in self.frechet.items() if windows == max_windows}
        if len(comparable) < 2:
            return set()
        return {name for name, distance in comparable.items() if distance == min(comparable.values())}

    def find_best(self, measure: str) -> set[str]:
        """Return the methods, without the real clips, whose mean is nearest to perfect, if they have the most clips."""
        target = MEASURES[measure].best
        cells = {name: row[measure] for name, row in self.rows.items() if measure in row and name != REAL}
        max_clips = max((cell.clips for cell in cells.values()), default=0)
        means = {name: cell.estimate.value for name, cell in cells.items() if cell.clips == max_clips}
        distances = {
            name: -value if target == HIGHER else value if target == LOWER else abs(value - target)
            for name, value in means.items()
        }
        if len(distances) < 2:
            return set()
        return {name for name, value in distances.items() if value == min(distances.values())}


def build_tables(
    results: Sequence[PairResult], features: Mapping[str, Features], methods: Sequence[str], seed: int
) -> list[Table]:
    """Build a table for every part and kind, self-driven ones first."""
    groups: dict[tuple[str, Kind], list[PairResult]] = {}
    for result in sorted(results, key=lambda result: result.pair.kind != "self"):
        groups.setdefault((result.pair.part, result.pair.kind), []).append(result)
    return [_build_table(part, kind, group, features, methods, seed) for (part, kind), group in groups.items()]


def _build_table(
    part: str,
    kind: Kind,
    results: Sequence[PairResult],
    features: Mapping[str, Features],
    methods: Sequence[str],
    seed: int,
) -> Table:
    scored = [result for result in results if result.scores]
    rows: dict[str, dict[str, Cell]] = {}
    for name in methods:
        of_method = [result.scores[name] for result in scored if name in result.scores]
        cells = {measure: _build_cell([s[measure] for s in of_method if measure in s], seed) for measure in MEASURES}
        cells = {measure: cell for measure, cell in cells.items() if cell.clips and kind in MEASURES[measure].kinds}
        if cells or any(name in result.failed for result in results):
            rows[name] = cells
    distances = {
        name: _compute_frechet([features[r.pair.id][name] for r in scored if name in r.scores])
        for name in rows
        if name != REAL
    }
    return Table(
        part=part,
        kind=kind,
        pairs=len(results),
        judged=len(scored),
        rows=rows,
        frechet={name: found for name, found in distances.items() if found is not None},
        failed={name: sum(name in result.failed for result in results) for name in methods if name != REAL},
    )


def _build_cell(values: Sequence[float], seed: int) -> Cell:
    finite = tuple(value for value in values if math.isfinite(value))
    return Cell(estimate_mean(np.array(finite), seed), len(finite), finite)


def _compute_frechet(features: Sequence[tuple[F32, F32]]) -> tuple[float, int] | None:
    """Return the distance and the number of windows; None for fewer than two windows."""
    nonempty = [(generated, real) for generated, real in features if len(generated)]
    if sum(len(generated) for generated, _ in nonempty) < 2:
        return None
    generated, real = (np.concatenate([pair[side] for pair in nonempty]) for side in (0, 1))
    return frechet_distance(generated, real), len(generated)
