"""Audio-visual offset and LSE of a clip by trained sync encoders."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cals.checkpoint import load_checkpoint
from cals.data.windows import crop_lower_halves
from cals.errors import CheckpointError
from cals.evaluation.drives import RATE_HZ, AlignedFaces, RealClip
from cals.face.align import CROP_SIZE_PX
from cals.features.mel import compute_log_mel
from cals.metrics.lse import LSE, lse
from cals.metrics.offset import MIN_FRAMES, compute_in_step
from cals.models.factory import build_frozen
from cals.models.sync import SyncModel


def load_sync(folder: Path) -> SyncModel:
    """Load the encoders of a checkpoint folder; CheckpointError unless their crop size and sample rate are ours."""
    model = build_frozen(SyncModel, load_checkpoint(folder))
    found = model.config.crop_px, model.config.mel.timing.sample_rate_hz
    if found != (CROP_SIZE_PX, RATE_HZ):
        raise CheckpointError(
            f"{folder}: expected sync encoders for crops of {CROP_SIZE_PX} px and {RATE_HZ} Hz, found {found[0]} px "
            f"and {found[1]} Hz; name others"
        )
    return model


def score_offset(clip: RealClip, seen: AlignedFaces, model: SyncModel) -> dict[str, float]:
    """Return `found`, 1 where the clip's offset is within a frame, else 0, and `windows_found`, the share of windows.

    Empty where `embed_clip` returns None.
    """
    embeddings = embed_clip(clip, seen, model)
    if embeddings is None:
        return {}
    found, windows = compute_in_step(*embeddings)
    return {"found": found, "windows_found": windows}


def compute_clip_lse(clip: RealClip, seen: AlignedFaces, model: SyncModel) -> LSE | None:
    """Compute LSE-D, LSE-C and offset of the video against the clip's own sound, by our encoders."""
    embeddings = embed_clip(clip, seen, model)
    return None if embeddings is None else lse(*embeddings)


def embed_clip(clip: RealClip, seen: AlignedFaces, model: SyncModel) -> tuple[Tensor, Tensor] | None:
    """Return visual and audio embeddings [t d] of the longest run with a face, at the encoders' own frame rate.

    None where that run is shorter than `MIN_FRAMES`.
    """
    timing = model.config.mel.timing
    ticks_s = (np.arange(int(clip.end_s * timing.fps)) + 0.5) / timing.fps
    index = np.searchsorted(clip.starts_s, ticks_s, side="right") - 1
    first, count = find_longest_run(seen.valid[index])
    if count < MIN_FRAMES:
        return None
    mel = compute_log_mel(torch.from_numpy(clip.load_wav()[None]), model.config.mel)[0]
    mel = mel[first * timing.mels_per_frame : (first + count) * timing.mels_per_frame]
    lower = crop_lower_halves(seen.crops[index[first : first + count]])
    with torch.inference_mode():
        return model.embed_clip(lower, mel)


def find_longest_run(valid: np.ndarray) -> tuple[int, int]:
    """Return start and length of the longest run of True in [t]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], valid.astype(np.int8), [0]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(starts):
        return 0, 0
    longest = int(lengths.argmax())
    return int(starts[longest]), int(lengths[longest])
