"""The numbers of one clip, by method: `self`, `cross`, `shuffled`, `copy`."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.evaluation.drives import F64, Seen
from cals.face.landmarks import MOUTH_68, MOUTH_OUTER, mouth_opening, mouth_width
from cals.metrics.image import gradient_energy, psnr, ssim
from cals.metrics.landmarks import landmark_distance
from cals.metrics.motion import correlation, leak, span
from cals.types import U8

LIP_MARGIN_PX = 4
"""Skin around the outer lip contour that counts as lip region: a mouth that opens wider has to fit in too."""
MIN_SILENT = 4
"""Fewer frames of silence than this are not judged."""
EQUAL_DB = 100.0
"""What the PSNR of equal pictures, which is infinite, counts as in a mean."""


@dataclass(frozen=True, eq=False)
class Drives:
    """A real clip beside what was made of it; see `evaluation.drives`."""

    real: Seen
    self_driven: Seen
    cross_driven: Seen
    meant: Seen
    """The real mouth that belongs to the sound of `cross_driven`."""
    copied: Seen
    silent: NDArray[np.bool_]
    """[t], frames before the first word, where it is known."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """[t]: frames in which every one of them has a face, so that all are judged on the same ones."""
        parts = (self.real, self.self_driven, self.cross_driven, self.meant, self.copied)
        return np.asarray(np.all([part.valid for part in parts], axis=0))


def scores(drives: Drives) -> dict[str, dict[str, float]]:
    """Method -> measure -> value over the usable frames.

    `shuffled` is `cross` judged as if it had been driven by the clip's own sound: what a model scores whose mouth
    moves well, but not to this sound.
    """
    use = drives.usable
    real, meant = drives.real.landmarks[use], drives.meant.landmarks[use]
    made = {"self": drives.self_driven, "shuffled": drives.cross_driven, "copy": drives.copied}
    found = {
        method: motion(seen.landmarks[use], real) | pixels(seen.crops[use], drives.real.crops[use], real)
        for method, seen in made.items()
    }
    crossed = drives.cross_driven.landmarks[use]
    quiet = use & drives.silent
    if quiet.sum() >= MIN_SILENT:
        wider = openings(drives.self_driven.landmarks[quiet]).mean() - openings(drives.real.landmarks[quiet]).mean()
        found["self"]["silence"] = float(wider)
    shown = {"leak": leak(openings(crossed), openings(real), openings(meant))}
    return {"self": found["self"], "cross": motion(crossed, meant) | shown} | found


def openings(landmarks: F64) -> F64:
    """Mouth opening of every frame, [t 468 2] -> [t] in inter-ocular distances."""
    return np.array([mouth_opening(points) for points in landmarks])


def motion(generated: F64, real: F64) -> dict[str, float]:
    """How the mouth moves, from landmarks [t 468 2] in crop pixels."""
    widths = [np.array([mouth_width(points) for points in landmarks]) for landmarks in (generated, real)]
    opened, opened_really = openings(generated), openings(real)
    lips = list(MOUTH_68)
    return {
        "opening": correlation(opened, opened_really),
        "width": correlation(widths[0], widths[1]),
        "span": span(opened, opened_really),
        "lmd": landmark_distance(generated[:, lips], real[:, lips]),
    }


def pixels(generated: U8, real: U8, landmarks: F64) -> dict[str, float]:
    """How the crops [t size size 3] look, with the real landmarks [t 468 2]."""
    found = {name: float(values.mean()) for name, values in pixel_rows(generated, real, landmarks).items()}
    energy, true_energy = found.pop("energy"), found.pop("true_energy")
    return found | {"sharpness": sharpness(energy, true_energy)}


def pixel_rows(generated: U8, real: U8, landmarks: F64) -> dict[str, F64]:
    """The same frame by frame, measure -> [t], and the gradient energies whose means `sharpness` compares."""
    half = real.shape[1] // 2
    frames = []
    for made, true, points in zip(generated, real, landmarks, strict=True):
        lips = lip_region(points, len(true))
        frames.append(
            (
                min(psnr(made, true), EQUAL_DB),
                ssim(made, true),
                min(psnr(made[half:], true[half:]), EQUAL_DB),
                ssim(made[half:], true[half:]),
                min(psnr(made, true, lips), EQUAL_DB),
                gradient_energy(made, lips),
                gradient_energy(true, lips),
            )
        )
    names = ("psnr", "ssim", "psnr_lower", "ssim_lower", "psnr_lips", "energy", "true_energy")
    return dict(zip(names, np.array(frames, dtype=np.float64).reshape(-1, len(names)).T, strict=True))


def sharpness(energy: float, true_energy: float) -> float:
    """Gradient energy over the real one's."""
    return energy / max(true_energy, 1e-9)


def lip_region(points: F64, size_px: int, margin_px: int = LIP_MARGIN_PX) -> NDArray[np.bool_]:
    """The outer lips of one face [468 2] with a margin, filled: [size size]."""
    canvas = np.zeros((size_px, size_px), np.uint8)
    outline = np.rint(points[list(MOUTH_OUTER)] - 0.5).astype(np.int32)  # cv2's pixel centres are whole numbers
    cv2.fillConvexPoly(canvas, cv2.convexHull(outline), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1,) * 2)
    return np.asarray(cv2.dilate(canvas, disc)) > 0
