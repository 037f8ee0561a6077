"""Whether trained sync encoders find sound and picture of a clip in step."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cals.checkpoint import load_checkpoint
from cals.data.windows import lower_halves
from cals.errors import CheckpointError
from cals.evaluation.drives import RATE_HZ, RealClip, Seen
from cals.face.align import CROP_SIZE_PX
from cals.features.mel import log_mel
from cals.metrics.lse import LSE, lse
from cals.metrics.offset import MIN_FRAMES, in_step
from cals.models.sync import SyncModel, sync_from_checkpoint


def load_sync(folder: Path) -> SyncModel:
    """The encoders of a checkpoint folder, which must look at crops of our size and hear our rate."""
    model = sync_from_checkpoint(load_checkpoint(folder))
    found = model.config.crop_px, model.config.mel.timing.sample_rate_hz
    if found != (CROP_SIZE_PX, RATE_HZ):
        raise CheckpointError(
            f"{folder}: expected sync encoders for crops of {CROP_SIZE_PX} px and {RATE_HZ} Hz, found {found[0]} px "
            f"and {found[1]} Hz; name others"
        )
    return model


def offset_scores(clip: RealClip, seen: Seen, model: SyncModel) -> dict[str, float]:
    """1 where the clip's offset is found within a frame, else 0, and the share of its single windows that find it.

    Nothing where `embedded` finds nothing to judge.
    """
    both = embedded(clip, seen, model)
    if both is None:
        return {}
    whole, windows = in_step(*both)
    return {"found": whole, "windows_found": windows}


def clip_lse(clip: RealClip, seen: Seen, model: SyncModel) -> LSE | None:
    """LSE-D, LSE-C and offset of what is seen against the clip's own sound, by our encoders."""
    both = embedded(clip, seen, model)
    return None if both is None else lse(*both)


def embedded(clip: RealClip, seen: Seen, model: SyncModel) -> tuple[Tensor, Tensor] | None:
    """Embeddings [t d] of picture and sound over the longest stretch with a face, at the encoders' own frame rate.

    None where that is shorter than `MIN_FRAMES`.
    """
    timing = model.config.mel.timing
    ticks_s = (np.arange(int(clip.end_s * timing.fps)) + 0.5) / timing.fps
    index = np.searchsorted(clip.starts_s, ticks_s, side="right") - 1
    first, count = longest_run(seen.valid[index])
    if count < MIN_FRAMES:
        return None
    mel = log_mel(torch.from_numpy(clip.wav()[None]), model.config.mel)[0]
    mel = mel[first * timing.mels_per_frame : (first + count) * timing.mels_per_frame]
    lower = lower_halves(seen.crops[index[first : first + count]])
    with torch.inference_mode():
        return model.of_clip(lower, mel)


def longest_run(valid: np.ndarray) -> tuple[int, int]:
    """Start and length of the longest stretch of True in [t]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], valid.astype(np.int8), [0]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(starts):
        return 0, 0
    longest = int(lengths.argmax())
    return int(starts[longest]), int(lengths[longest])
