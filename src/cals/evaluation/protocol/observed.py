"""What is measured of one video frame by frame, so that which frames count can be decided when all are seen."""

import json
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cals.evaluation.dlib_landmarks import DlibPredictor
from cals.evaluation.drives import F64, RealClip, Seen, rolled_index
from cals.evaluation.entrants import Shown
from cals.evaluation.scores import EQUAL_DB, lip_region, openings, pixel_rows
from cals.face.landmarks import MOUTH_68, mouth_width
from cals.files import replacing
from cals.inference.shifts import Shifts, measure_shifts
from cals.inference.sync_encoders import SyncEncoders
from cals.media.audio import mono_blocks
from cals.metrics.flicker import compute_changes
from cals.metrics.frechet import trunk_features
from cals.metrics.identity import identity_features, mean_identity
from cals.metrics.image import gradient_energy, ssim, wrapped_psnr
from cals.metrics.offset import MAX_OFFSET
from cals.types import F32, U8

WINDOW = 5
"""Frames of a window of both kinds of sync encoders, and of one sample of the Frechet distance."""
_SSIM_PX = 11


@dataclass(frozen=True, eq=False)
class Observed:
    """One video, at the frames [t] of the real clip and at the moments [k] of the sync encoders' own rate."""

    key: dict[str, Any]
    """What it was measured of, and with."""
    valid: NDArray[np.bool_]
    """[t], whether the face was found, and was drawn in full."""
    values: dict[str, F64]
    """Measure -> [t]; NaN where not valid."""
    lips: F64
    """[t 20 2] in crop pixels."""
    dlib_lips: F64
    """[t 20 2], the same points as dlib's predictor finds them; NaN where not valid, or without a predictor."""
    frame_of: NDArray[np.int64]
    """[k], the frame shown at each moment."""
    distances: F32
    """[k 31] of the window around each moment to the shifted sound; NaN where there is no window or no sound."""
    features: F32
    """[k // 5, d] of the windows that follow one another; NaN where one of their frames is not valid."""
    own_place: bool = False
    compute: float = math.nan
    """See `Shown`."""

    def save(self, path: Path) -> None:
        """As one file, whole or not at all."""
        arrays = {
            name: getattr(self, name) for name in ("valid", "lips", "dlib_lips", "frame_of", "distances", "features")
        }
        arrays |= {"own_place": np.array(self.own_place), "compute": np.array(self.compute)}
        arrays |= {f"values.{name}": values for name, values in self.values.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, key=np.array(json.dumps(self.key)), **arrays)

    @staticmethod
    def read(path: Path, key: dict[str, Any]) -> "Observed | None":
        """The inverse; None where there is none of this key."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):  # what a crash left, say
            return None
        if json.loads(str(arrays.pop("key"))) != key:
            return None
        own_place, compute = bool(arrays.pop("own_place")), float(arrays.pop("compute", math.nan))
        values = {name.removeprefix("values."): arrays.pop(name) for name in list(arrays) if name.startswith("values.")}
        return Observed(key=key, values=values, own_place=own_place, compute=compute, **arrays)


@dataclass(frozen=True)
class Instruments:
    """What a video is measured with."""

    encoders: SyncEncoders
    features: nn.Module
    """Visual sync encoder whose trunk gives the features of the Frechet distance."""
    dlib: DlibPredictor | None = None


def observe(
    clip: RealClip,
    shown: Shown,
    sound: Path | None,
    tools: Instruments,
    key: dict[str, Any],
    *,
    pixels: bool,
    rolled: bool = False,
) -> Observed:
    """Measure what is shown, against the real clip where `pixels`, and against `sound` where there is one.

    With `rolled` also what is compared with the mouth that belongs to the clip's own sound, rolled.
    """
    seen = shown.seen
    there = np.flatnonzero(seen.valid)
    values = _motion(seen.landmarks[there]) | {
        "identity": _identity(seen.crops[there], clip.seen.crops[clip.seen.valid]),
        "silent": clip.silent[there].astype(np.float64),
    }
    if pixels:
        values |= _pixels(seen.crops[there], clip.seen.crops[there], clip.seen.landmarks[there])
    if rolled:
        values |= {name: column[there] for name, column in _rolled(clip, seen).items()}
    fps = tools.encoders.fps
    # as `shifts.at_rate` counts moments: those whose middle is before the end
    moments = (np.arange(max(math.ceil(clip.end_s * fps - 0.5), 0)) + 0.5) / fps
    frame_of = np.searchsorted(clip.starts_s, moments, side="right") - 1
    distances = np.full((len(frame_of), 2 * MAX_OFFSET + 1), np.nan, np.float32)
    if sound is not None:
        found = _shifts(shown, sound, tools.encoders)
        known = [number for number in found.judged if number < len(distances)]
        if known:
            distances[known] = np.stack(found.distances[: len(known)])
    return Observed(
        key=key,
        valid=seen.valid,
        values={name: _spread(column, seen.valid) for name, column in values.items()},
        lips=seen.landmarks[:, list(MOUTH_68)],
        dlib_lips=_spread(
            np.full((len(there), len(MOUTH_68), 2), np.nan)
            if tools.dlib is None
            else tools.dlib.mouths(seen.crops[there]),
            seen.valid,
        ),
        frame_of=frame_of,
        distances=distances,
        features=_features(seen, frame_of, tools.features),
        own_place=shown.own_place,
        compute=shown.compute,
    )


def _motion(landmarks: F64) -> dict[str, F64]:
    return {"opening": openings(landmarks), "width": np.array([mouth_width(points) for points in landmarks])}


def _identity(crops: U8, reference: U8) -> F64:
    """Similarity of each crop to the mean of the real ones, [t]."""
    if not len(crops):
        return np.zeros(0)
    real = mean_identity(reference)
    return np.array([identity_features(crop) @ real for crop in crops], dtype=np.float64)


def _rolled(clip: RealClip, seen: Seen) -> dict[str, F64]:
    """[t]: each mouth by itself, when it is shown, and the number of the real frame whose mouth belongs there."""
    size_px = seen.crops.shape[1]
    regions, energy = np.zeros(seen.crops.shape[:3], bool), np.full(len(seen.valid), np.nan)
    for t in np.flatnonzero(seen.valid):
        regions[t] = lip_region(seen.landmarks[t], size_px, margin_px=0)
        energy[t] = gradient_energy(seen.crops[t], lip_region(seen.landmarks[t], size_px))
    return {
        "change": compute_changes(seen.crops, regions),
        "own_energy": energy,
        "middle_s": clip.middles_s,
        "meant": rolled_index(clip, clip).astype(np.float64),
    }


def _pixels(made: U8, real: U8, landmarks: F64) -> dict[str, F64]:
    rows = pixel_rows(made, real, landmarks)
    both = list(zip(made, real, landmarks, strict=True))
    rows["wrapped_psnr"] = np.array([min(wrapped_psnr(a, b), EQUAL_DB) for a, b, _ in both])
    rows["ssim_lips"] = np.array([_lip_ssim(a, b, points) for a, b, points in both])
    return rows


def _lip_ssim(made: U8, real: U8, points: F64) -> float:
    """SSIM of the upright box around the lip region, which is grown to the size of SSIM's window."""
    rows, columns = np.nonzero(lip_region(points, len(real)))
    if not len(rows):
        return math.nan
    box = tuple(_at_least(int(at.min()), int(at.max()) + 1, len(real)) for at in (rows, columns))
    return ssim(made[box], real[box])


def _at_least(low: int, high: int, size: int) -> slice:
    low = max(min(low, size - _SSIM_PX), 0)
    return slice(low, max(high, low + _SSIM_PX))


def _shifts(shown: Shown, sound: Path, encoders: SyncEncoders) -> Shifts:
    """Distances of the encoders to the shifted sound."""
    growing = measure_shifts(shown.items, mono_blocks(sound, encoders.sample_rate_hz), encoders)
    return deque(growing, maxlen=1).pop()


def _features(seen: Seen, frame_of: NDArray[np.int64], encoder: nn.Module) -> F32:
    blocks = frame_of[: len(frame_of) // WINDOW * WINDOW].reshape(-1, WINDOW)
    whole = np.flatnonzero(seen.valid[blocks].all(axis=1))
    if not len(whole):
        return np.full((len(blocks), 1), np.nan, np.float32)
    lower = seen.crops[blocks[whole]][:, :, seen.crops.shape[1] // 2 :]
    found = trunk_features(encoder, torch.from_numpy(lower).permute(0, 1, 4, 2, 3).float() / 255).numpy()
    features = np.full((len(blocks), found.shape[1]), np.nan, np.float32)
    features[whole] = found
    return features


def _spread(column: F64, valid: NDArray[np.bool_]) -> F64:
    """Values of the valid frames at their places among all."""
    found = np.full((len(valid), *column.shape[1:]), np.nan)
    found[valid] = column
    return found
