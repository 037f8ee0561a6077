"""Scores of one clip, by method: `self`, `cross`, `shuffled`, `copy`."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.evaluation.drives import F64, AlignedFaces
from cals.face.landmarks import MOUTH_68, MOUTH_OUTER, measure_mouth_opening, measure_mouth_width
from cals.metrics.image import gradient_energy, psnr, ssim
from cals.metrics.landmarks import landmark_distance
from cals.metrics.motion import correlation, leak, span_ratio
from cals.types import U8

LIP_MARGIN_PX = 4
"""Margin of the lip region around the outer lip contour, so that a wider open mouth fits in too."""
MIN_SILENT = 4
"""Fewest frames of silence that are scored."""
EQUAL_DB = 100.0
"""PSNR that equal pictures, whose PSNR is infinite, have in a mean."""


@dataclass(frozen=True, eq=False)
class ClipOutputs:
    """A real clip and the videos generated from it; see `evaluation.drives`."""

    real: AlignedFaces
    self_driven: AlignedFaces
    cross_driven: AlignedFaces
    target: AlignedFaces
    """The real mouth that belongs to the sound of `cross_driven`."""
    copy: AlignedFaces
    silent: NDArray[np.bool_]
    """[t], frames before the first word, where it is known."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """[t], frames in which all videos have a face, so that all are scored on the same ones."""
        parts = (self.real, self.self_driven, self.cross_driven, self.target, self.copy)
        return np.asarray(np.all([part.valid for part in parts], axis=0))


def score_clip(drives: ClipOutputs) -> dict[str, dict[str, float]]:
    """Compute method -> measure -> value over the usable frames.

    `shuffled` is `cross` scored as if it had been driven by the clip's own sound: the score of a mouth that moves
    well, but not to this sound.
    """
    use = drives.usable
    real, target = drives.real.landmarks[use], drives.target.landmarks[use]
    generated = {"self": drives.self_driven, "shuffled": drives.cross_driven, "copy": drives.copy}
    by_method = {
        method: score_motion(seen.landmarks[use], real) | score_pixels(seen.crops[use], drives.real.crops[use], real)
        for method, seen in generated.items()
    }
    cross = drives.cross_driven.landmarks[use]
    silent = use & drives.silent
    if silent.sum() >= MIN_SILENT:
        silence = (
            compute_openings(drives.self_driven.landmarks[silent]).mean()
            - compute_openings(drives.real.landmarks[silent]).mean()
        )
        by_method["self"]["silence"] = float(silence)
    leakage = {"leak": leak(compute_openings(cross), compute_openings(real), compute_openings(target))}
    return {"self": by_method["self"], "cross": score_motion(cross, target) | leakage} | by_method


def compute_openings(landmarks: F64) -> F64:
    """Compute the mouth opening of every frame, [t 468 2] -> [t] in inter-ocular distances."""
    return np.array([measure_mouth_opening(points) for points in landmarks])


def score_motion(generated: F64, real: F64) -> dict[str, float]:
    """Score the motion of the mouth, from landmarks [t 468 2] in crop pixels."""
    widths = [np.array([measure_mouth_width(points) for points in landmarks]) for landmarks in (generated, real)]
    opening, real_opening = compute_openings(generated), compute_openings(real)
    mouth = list(MOUTH_68)
    return {
        "opening": correlation(opening, real_opening),
        "width": correlation(widths[0], widths[1]),
        "span": span_ratio(opening, real_opening),
        "lmd": landmark_distance(generated[:, mouth], real[:, mouth]),
    }


def score_pixels(generated: U8, real: U8, landmarks: F64) -> dict[str, float]:
    """Score the pixels of crops [t size size 3], with the real landmarks [t 468 2]."""
    means = {name: float(values.mean()) for name, values in score_pixels_by_frame(generated, real, landmarks).items()}
    energy, real_energy = means.pop("energy"), means.pop("true_energy")
    return means | {"sharpness": compute_sharpness(energy, real_energy)}


def score_pixels_by_frame(generated: U8, real: U8, landmarks: F64) -> dict[str, F64]:
    """Score the pixels of each frame, measure -> [t], with the gradient energies that `compute_sharpness` averages."""
    half = real.shape[1] // 2
    rows = []
    for pred, target, points in zip(generated, real, landmarks, strict=True):
        mask = build_lip_mask(points, len(target))
        rows.append(
            (
                min(psnr(pred, target), EQUAL_DB),
                ssim(pred, target),
                min(psnr(pred[half:], target[half:]), EQUAL_DB),
                ssim(pred[half:], target[half:]),
                min(psnr(pred, target, mask), EQUAL_DB),
                gradient_energy(pred, mask),
                gradient_energy(target, mask),
            )
        )
    names = ("psnr", "ssim", "psnr_lower", "ssim_lower", "psnr_lips", "energy", "true_energy")
    return dict(zip(names, np.array(rows, dtype=np.float64).reshape(-1, len(names)).T, strict=True))


def compute_sharpness(energy: float, true_energy: float) -> float:
    """Return the gradient energy over the real one's."""
    return energy / max(true_energy, 1e-9)


def build_lip_mask(points: F64, size_px: int, margin_px: int = LIP_MARGIN_PX) -> NDArray[np.bool_]:
    """Build the mask [size size] of the outer lips of one face [468 2], with a margin."""
    canvas = np.zeros((size_px, size_px), np.uint8)
    outline = np.rint(points[list(MOUTH_OUTER)] - 0.5).astype(np.int32)  # pixel centres of cv2 are whole numbers
    cv2.fillConvexPoly(canvas, cv2.convexHull(outline), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1,) * 2)
    return np.asarray(cv2.dilate(canvas, disc)) > 0
