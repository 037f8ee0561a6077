"""Measurements of one video frame by frame; which frames count is decided later, from all methods."""

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
from cals.evaluation.drives import F64, AlignedFaces, RealClip, compute_roll
from cals.evaluation.outputs import MethodOutput
from cals.evaluation.scores import EQUAL_DB, build_lip_mask, compute_openings, score_pixels_by_frame
from cals.face.landmarks import MOUTH_68, measure_mouth_width
from cals.files import replace_atomically
from cals.inference.sync_distances import SyncDistances, measure_shifts
from cals.inference.sync_encoders import SyncEncoders
from cals.media.audio import mono_blocks
from cals.metrics.flicker import compute_changes
from cals.metrics.frechet import extract_trunk_features
from cals.metrics.identity import identity_features, mean_identity_features
from cals.metrics.image import gradient_energy, ssim, wrapped_psnr
from cals.metrics.offset import MAX_OFFSET
from cals.types import F32, U8

WINDOW = 5
"""Frames of a window of both kinds of sync encoders, and of one sample of the Frechet distance."""
_SSIM_PX = 11


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """Measurements of a video at the frames [t] of the real clip and the moments [k] at the sync encoders' rate."""

    key: dict[str, Any]
    """Inputs and models of the measurement."""
    valid: NDArray[np.bool_]
    """[t], whether the face was found, and was generated in full."""
    values: dict[str, F64]
    """Measure -> [t]; NaN where not valid."""
    lips: F64
    """[t 20 2] in crop pixels."""
    dlib_lips: F64
    """[t 20 2], the same points as dlib's predictor finds them; NaN where not valid, or without a predictor."""
    frame_of: NDArray[np.int64]
    """[k], the frame shown at each moment."""
    distances: F32
    """[k 31], distance of the window around each moment to the shifted sound; NaN without a window or sound."""
    features: F32
    """[k // 5, d] of consecutive windows; NaN where one of their frames is not valid."""
    has_own_alignment: bool = False
    compute: float = math.nan
    """See `MethodOutput`."""

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all."""
        arrays = {
            name: getattr(self, name) for name in ("valid", "lips", "dlib_lips", "frame_of", "distances", "features")
        }
        arrays |= {"own_place": np.array(self.has_own_alignment), "compute": np.array(self.compute)}
        arrays |= {f"values.{name}": values for name, values in self.values.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, key=np.array(json.dumps(self.key)), **arrays)

    @staticmethod
    def read(path: Path, key: dict[str, Any]) -> "FrameRecord | None":
        """Read a file that `save` wrote; None where there is none of this key."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):  # for example the remains of a crash
            return None
        if json.loads(str(arrays.pop("key"))) != key:
            return None
        own_place, compute = bool(arrays.pop("own_place")), float(arrays.pop("compute", math.nan))
        values = {name.removeprefix("values."): arrays.pop(name) for name in list(arrays) if name.startswith("values.")}
        return FrameRecord(key=key, values=values, has_own_alignment=own_place, compute=compute, **arrays)


@dataclass(frozen=True)
class MetricModels:
    """Models that measure a video."""

    encoders: SyncEncoders
    features: nn.Module
    """Visual sync encoder whose trunk gives the features of the Frechet distance."""
    dlib: DlibPredictor | None = None


def measure_frames(
    clip: RealClip,
    shown: MethodOutput,
    sound: Path | None,
    tools: MetricModels,
    key: dict[str, Any],
    *,
    pixels: bool,
    rolled: bool = False,
) -> FrameRecord:
    """Measure a video, against the real clip's pixels with `pixels`, and against `sound` where there is one.

    With `rolled`, also measure what is compared with the mouth that belongs to the clip's own sound, rolled.
    """
    seen = shown.faces
    index = np.flatnonzero(seen.valid)
    values = _measure_motion(seen.landmarks[index]) | {
        "identity": _measure_identity(seen.crops[index], clip.faces.crops[clip.faces.valid]),
        "silent": clip.silent[index].astype(np.float64),
    }
    if pixels:
        values |= _measure_pixels(seen.crops[index], clip.faces.crops[index], clip.faces.landmarks[index])
    if rolled:
        values |= {name: column[index] for name, column in _measure_roll(clip, seen).items()}
    fps = tools.encoders.fps
    # moments as `resample_frames` counts them: those whose middle is before the end
    moments_s = (np.arange(max(math.ceil(clip.end_s * fps - 0.5), 0)) + 0.5) / fps
    frame_of = np.searchsorted(clip.starts_s, moments_s, side="right") - 1
    distances = np.full((len(frame_of), 2 * MAX_OFFSET + 1), np.nan, np.float32)
    if sound is not None:
        shifts = _measure_shifts(shown, sound, tools.encoders)
        moment_index = [number for number in shifts.frame_indices if number < len(distances)]
        if moment_index:
            distances[moment_index] = np.stack(shifts.distances[: len(moment_index)])
    return FrameRecord(
        key=key,
        valid=seen.valid,
        values={name: _scatter(column, seen.valid) for name, column in values.items()},
        lips=seen.landmarks[:, list(MOUTH_68)],
        dlib_lips=_scatter(
            np.full((len(index), len(MOUTH_68), 2), np.nan)
            if tools.dlib is None
            else tools.dlib.predict_mouths(seen.crops[index]),
            seen.valid,
        ),
        frame_of=frame_of,
        distances=distances,
        features=_compute_features(seen, frame_of, tools.features),
        has_own_alignment=shown.has_own_alignment,
        compute=shown.compute,
    )


def _measure_motion(landmarks: F64) -> dict[str, F64]:
    return {
        "opening": compute_openings(landmarks),
        "width": np.array([measure_mouth_width(points) for points in landmarks]),
    }


def _measure_identity(crops: U8, real_crops: U8) -> F64:
    """Compute the similarity [t] of each crop to the mean of the real ones."""
    if not len(crops):
        return np.zeros(0)
    real = mean_identity_features(real_crops)
    return np.array([identity_features(crop) @ real for crop in crops], dtype=np.float64)


def _measure_roll(clip: RealClip, seen: AlignedFaces) -> dict[str, F64]:
    """Measure each mouth [t] by itself, its time, and the index of the real frame whose mouth belongs there."""
    size_px = seen.crops.shape[1]
    masks, energy = np.zeros(seen.crops.shape[:3], bool), np.full(len(seen.valid), np.nan)
    for t in np.flatnonzero(seen.valid):
        masks[t] = build_lip_mask(seen.landmarks[t], size_px, margin_px=0)
        energy[t] = gradient_energy(seen.crops[t], build_lip_mask(seen.landmarks[t], size_px))
    return {
        "change": compute_changes(seen.crops, masks),
        "own_energy": energy,
        "middle_s": clip.middles_s,
        "meant": compute_roll(clip, clip).astype(np.float64),
    }


def _measure_pixels(generated: U8, real: U8, landmarks: F64) -> dict[str, F64]:
    rows = score_pixels_by_frame(generated, real, landmarks)
    pairs = list(zip(generated, real, landmarks, strict=True))
    rows["wrapped_psnr"] = np.array([min(wrapped_psnr(a, b), EQUAL_DB) for a, b, _ in pairs])
    rows["ssim_lips"] = np.array([_compute_lip_ssim(a, b, points) for a, b, points in pairs])
    return rows


def _compute_lip_ssim(generated: U8, real: U8, points: F64) -> float:
    """Compute SSIM of the bounding box of the lip region, grown to the size of SSIM's window."""
    rows, columns = np.nonzero(build_lip_mask(points, len(real)))
    if not len(rows):
        return math.nan
    box = tuple(_grow_range(int(pixels.min()), int(pixels.max()) + 1, len(real)) for pixels in (rows, columns))
    return ssim(generated[box], real[box])


def _grow_range(low: int, high: int, size: int) -> slice:
    low = max(min(low, size - _SSIM_PX), 0)
    return slice(low, max(high, low + _SSIM_PX))


def _measure_shifts(shown: MethodOutput, sound: Path, encoders: SyncEncoders) -> SyncDistances:
    """Measure the encoders' distances to the shifted sound."""
    snapshots = measure_shifts(shown.frames, mono_blocks(sound, encoders.sample_rate_hz), encoders)
    return deque(snapshots, maxlen=1).pop()


def _compute_features(seen: AlignedFaces, frame_of: NDArray[np.int64], encoder: nn.Module) -> F32:
    blocks = frame_of[: len(frame_of) // WINDOW * WINDOW].reshape(-1, WINDOW)
    valid_blocks = np.flatnonzero(seen.valid[blocks].all(axis=1))
    if not len(valid_blocks):
        return np.full((len(blocks), 1), np.nan, np.float32)
    lower = seen.crops[blocks[valid_blocks]][:, :, seen.crops.shape[1] // 2 :]
    trunk = extract_trunk_features(encoder, torch.from_numpy(lower).permute(0, 1, 4, 2, 3).float() / 255).numpy()
    features = np.full((len(blocks), trunk.shape[1]), np.nan, np.float32)
    features[valid_blocks] = trunk
    return features


def _scatter(column: F64, valid: NDArray[np.bool_]) -> F64:
    """Scatter the values of the valid frames to their indices; NaN elsewhere."""
    result = np.full((len(valid), *column.shape[1:]), np.nan)
    result[valid] = column
    return result
