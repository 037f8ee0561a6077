"""The audio-visual offset of a clip, found by sliding its sound's embeddings past its picture's."""

import torch
from torch import Tensor

MAX_OFFSET = 15
"""Offsets searched: -15..15 frames, 31 of them (SyncNet)."""
MIN_FRAMES = 2 * MAX_OFFSET + 10
"""Shorter clips are not enough to estimate an offset."""
MAX_IN_STEP_OFFSET = 1
"""A clip is in step with its sound if its estimated offset is no larger."""


def shift_similarities(visual: Tensor, audio: Tensor, max_offset: int = MAX_OFFSET) -> Tensor:
    """Compute cosines of picture at t and sound at t + offset, [t - 2 max, 2 max + 1]; both [t d] L2-normalised.

    Only frames that have all offsets count, so that every offset is measured on the same frames.
    """
    frames = len(visual)
    if frames <= 2 * max_offset:
        raise ValueError(f"offset: expected more than {2 * max_offset} frames, found {frames}")
    middle = visual[max_offset : frames - max_offset]
    windows = audio.unfold(0, 2 * max_offset + 1, 1)  # [t - 2 max, d, offsets]
    return torch.einsum("td,tdo->to", middle, windows)


def estimate_offset(visual: Tensor, audio: Tensor, max_offset: int = MAX_OFFSET) -> int:
    """Estimate `offset_frames` of a whole clip: > 0 when the sound comes late."""
    mean = shift_similarities(visual, audio, max_offset).mean(dim=0)
    return int(mean.argmax()) - max_offset


def estimate_subframe_offset(visual: Tensor, audio: Tensor, max_offset: int = 3) -> float:
    """Estimate `offset_frames` of a clip in fractions of a frame: the top of a parabola over the best three offsets."""
    mean = shift_similarities(visual, audio, max_offset).mean(dim=0)
    best = int(mean[1:-1].argmax()) + 1
    left, middle, right = (float(value) for value in mean[best - 1 : best + 2])
    curvature = left - 2 * middle + right
    return best - max_offset + (0.5 * (left - right) / curvature if curvature < 0 else 0.0)


def estimate_window_offsets(visual: Tensor, audio: Tensor, max_offset: int = MAX_OFFSET) -> Tensor:
    """Estimate the offset of each single window, [t - 2 max]."""
    return shift_similarities(visual, audio, max_offset).argmax(dim=1) - max_offset


def compute_in_step(visual: Tensor, audio: Tensor) -> tuple[float, float]:
    """Return 1 if a clip of `MIN_FRAMES` or more is in step, else 0, and the share of its single windows that are."""
    windows = estimate_window_offsets(visual, audio).abs() <= MAX_IN_STEP_OFFSET
    return float(abs(estimate_offset(visual, audio)) <= MAX_IN_STEP_OFFSET), float(windows.float().mean())
