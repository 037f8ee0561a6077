"""LSE-D, LSE-C and the audio-visual offset, as SyncNet's users measure them (paper section 4), with any encoders."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.metrics.offset import MAX_OFFSET

Edges = Literal["drop", "zeros"]
"""Treatment of frames that lack some shifts: left out, or compared with embeddings of zeros (as published)."""


@dataclass(frozen=True, kw_only=True)
class LSE:
    """Lip-sync error of a clip; distances are comparable only between embeddings of the same encoders."""

    offset_frames: int
    """Of the smallest mean distance; > 0: audio lags video. SyncNet's own scripts print it with the other sign."""
    lse_d: float
    """The smallest mean distance; low is good. It ignores a constant offset: see `offset_frames`."""
    lse_c: float
    """The median over all shifts minus the smallest mean distance; high is good."""
    distances: tuple[float, ...]
    """Mean distance for each shift -max_offset..max_offset of the sound."""


def lse(visual: Tensor, audio: Tensor, max_offset: int = MAX_OFFSET, edges: Edges = "drop") -> LSE:
    """Compute LSE of embeddings [t d] of a clip's frames and of the sound at those frames.

    Raises ValueError when `edges` leaves no frame.
    """
    return lse_from_distances(shift_distances(visual, audio, max_offset, edges).numpy())


def shift_distances(visual: Tensor, audio: Tensor, max_offset: int = MAX_OFFSET, edges: Edges = "drop") -> Tensor:
    """Compute distances of the picture at t and the sound at t + shift, [t, 2 max + 1] or [t - 2 max, 2 max + 1]."""
    if len(visual) != len(audio) or (edges == "drop" and len(visual) <= 2 * max_offset):
        raise ValueError(
            f"lse: expected as much sound as picture and more than {2 * max_offset} frames, found {len(visual)} "
            f"frames and {len(audio)} of sound"
        )
    if edges == "zeros":
        audio = torch.nn.functional.pad(audio, (0, 0, max_offset, max_offset))
    else:
        visual = visual[max_offset : len(visual) - max_offset]
    frames = len(visual)
    # one shift at a time: all at once would need 31 copies of the embeddings
    columns = [(visual - audio[shift : shift + frames]).norm(dim=1) for shift in range(2 * max_offset + 1)]
    return torch.stack(columns, dim=1).cpu()


def lse_from_distances(distances: NDArray[np.floating]) -> LSE:
    """Compute LSE of `shift_distances` [t shifts], of any frames."""
    mean = distances.mean(axis=0, dtype=np.float64)
    best = int(mean.argmin())
    return LSE(
        offset_frames=best - len(mean) // 2,
        lse_d=float(mean[best]),
        lse_c=float(np.median(mean) - mean[best]),
        distances=tuple(float(value) for value in mean),
    )
