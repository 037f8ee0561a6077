"""LSE against embeddings whose distances are known, and against a plain loop over frames and shifts."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cals.metrics.lse import lse, shift_distances


def embeddings(frames: int, seed: int = 0, width: int = 16) -> Tensor:
    return torch.randn(frames, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("late", [-15, -3, 0, 1, 15])
def test_a_planted_offset_is_found_with_its_sign(late: int) -> None:
    visual = embeddings(90)
    audio = visual.roll(late, 0) + torch.tensor([3.0, 4.0, *[0.0] * 14])  # late > 0: the sound comes late; always 5 off
    result = lse(visual, audio)
    assert result.offset_frames == late
    assert result.lse_d == pytest.approx(5.0, rel=1e-5)
    assert result.lse_c == pytest.approx(np.median(result.distances) - 5.0, rel=1e-5)
    assert len(result.distances) == 31


@pytest.mark.parametrize("edges", ["drop", "zeros"])
def test_distances_are_those_of_a_plain_loop(edges: str) -> None:
    visual, audio, reach = embeddings(20), embeddings(20, 1), 4
    rows = []
    for t in range(20):
        if edges == "drop" and not reach <= t < 20 - reach:
            continue
        shifted = [
            audio[t + shift].numpy() if 0 <= t + shift < 20 else np.zeros(16) for shift in range(-reach, reach + 1)
        ]
        rows.append([np.sqrt(((visual[t].numpy() - sound) ** 2).sum()) for sound in shifted])
    distances = shift_distances(visual, audio, reach, edges)  # type: ignore[arg-type]
    assert np.allclose(distances.numpy(), rows, atol=1e-5)


def test_short_clips_count_only_as_published() -> None:
    with pytest.raises(ValueError, match="more than 30 frames"):
        lse(embeddings(29), embeddings(29))
    assert lse(embeddings(29), embeddings(29), edges="zeros").offset_frames == 0  # an LRW clip's length
    with pytest.raises(ValueError, match="as much sound"):
        lse(embeddings(60), embeddings(59))
