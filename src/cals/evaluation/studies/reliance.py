"""Rules that mask frames of a sound: low reliability by a recogniser, or an unusual level."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cals.data.corruption.noise import RATE_HZ
from cals.errors import ConfigError
from cals.evaluation.drives import F64
from cals.evaluation.studies.mouth_readers import FPS
from cals.models.avsr.network import AVSR
from cals.types import F32

Mask = NDArray[np.bool_]

CLEAN_SHARE = 0.05
"""Share of clean frames that either rule may mask."""
LEVEL_FRAMES = 9
"""Frames of the level's filter: peaks of speech are shorter, noise and silence longer."""
_FLOOR = 1e-10
"""Smallest mean power of a frame: -100 dB."""


@dataclass(frozen=True, kw_only=True)
class MaskingRules:
    """Thresholds beyond which frames are masked; `CLEAN_SHARE` of clean frames are beyond them."""

    least_score: float
    least_level_db: float
    most_level_db: float

    def mask_by_score(self, scores: F64) -> Mask:
        """Return the mask [t] of frames whose reliability [t] is under the least."""
        return scores < self.least_score

    def mask_by_level(self, levels_db: F64) -> Mask:
        """Return the mask [t] of frames whose filtered level [t] is under the least or over the most."""
        return (levels_db < self.least_level_db) | (levels_db > self.most_level_db)


def check_scores(recogniser: AVSR) -> None:
    """Raise ConfigError unless the recogniser scores sound, at the frame rate of prepared clips."""
    config = recogniser.config
    if not config.has_scores:
        kind = "one without scores" if config.streams == "both" else f"one of {config.streams} alone"
        raise ConfigError(
            f"recogniser: expected one of sound and lips that scores how far it relies on either, found {kind}; name "
            "one that was trained with scores"
        )
    timing = config.mel.timing
    if (timing.sample_rate_hz, timing.fps) != (RATE_HZ, FPS):
        raise ConfigError(
            f"recogniser: expected one of {RATE_HZ} Hz and {FPS} fps, as prepared clips are, found "
            f"{timing.sample_rate_hz} Hz and {timing.fps} fps; name another"
        )


def score_frames(recogniser: AVSR, wav: F32) -> F64:
    """Score the reliability of each frame [t] of a sound [n] without video, 0..1, mean over channels."""
    device = next(recogniser.parameters()).device
    frames = len(wav) // recogniser.config.mel.timing.samples_per_frame
    valid = torch.ones(1, frames, dtype=torch.bool, device=device)
    with torch.inference_mode():
        encoding = recogniser.encode(torch.from_numpy(wav)[None].to(device), None, valid)
    return encoding.average_scores()["audio"].astype(np.float64)


def measure_levels(wav: F32, samples_per_frame: int) -> F64:
    """Measure the level [t] of a sound [n], in dB of full scale, filtered by an opening over `LEVEL_FRAMES` frames.

    The opening, as in morphology, removes shorter peaks and keeps the edges of longer ones in place.
    """
    power = np.square(wav.reshape(-1, samples_per_frame), dtype=np.float64).mean(axis=1)
    levels: F64 = 10 * np.log10(np.maximum(power, _FLOOR))
    for extreme in (np.min, np.max):
        levels = extreme(sliding_window_view(np.pad(levels, LEVEL_FRAMES // 2, mode="edge"), LEVEL_FRAMES), axis=1)
    return levels


def fit_rules(recogniser: AVSR, wavs: Iterable[F32]) -> MaskingRules:
    """Fit the rules that mask `CLEAN_SHARE` of the frames of clean sounds [n]; for levels half of it on either side."""
    scores, levels = [], []
    for wav in wavs:
        scores.append(score_frames(recogniser, wav))
        levels.append(measure_levels(wav, recogniser.config.mel.timing.samples_per_frame))
    low, high = np.quantile(np.concatenate(levels), [CLEAN_SHARE / 2, 1 - CLEAN_SHARE / 2])
    return MaskingRules(
        least_score=float(np.quantile(np.concatenate(scores), CLEAN_SHARE)),
        least_level_db=float(low),
        most_level_db=float(high),
    )
