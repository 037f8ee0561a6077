import pytest
import torch
from torch.nn.functional import normalize

from cals.metrics.offset import estimate_offset, estimate_window_offsets, shift_similarities


def embeddings(frames: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(frames, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("late", [-15, -4, 0, 1, 15])
def test_a_planted_offset_is_found(late: int) -> None:
    visual = embeddings(80)
    audio = visual.roll(late, 0)  # > 0: the sound comes late
    assert estimate_offset(visual, audio) == late
    assert (estimate_window_offsets(visual, audio) == late).all()


def test_every_offset_is_judged_on_the_same_frames() -> None:
    visual, audio = embeddings(70), embeddings(70, 1)
    similarities = shift_similarities(visual, audio, 3)
    assert similarities.shape == (64, 7)
    assert float(similarities[10, 6]) == pytest.approx(float(visual[13] @ audio[16]))


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 30 frames"):
        estimate_offset(embeddings(30), embeddings(30))
