import numpy as np
import pytest
import torch

from cals.nn.attention import Transformer, apply_rotary, compute_rotary_angles
from cals.nn.masking import sample_span_mask


def test_rotary_attention_sees_distances_not_places() -> None:
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    angles = compute_rotary_angles(30, 8, torch.device("cpu"))

    def score(i: int, j: int) -> float:
        return float((apply_rotary(q, angles[i : i + 1]) * apply_rotary(k, angles[j : j + 1])).sum())

    assert score(3, 7) == pytest.approx(score(20, 24), abs=1e-4)
    assert score(3, 7) != pytest.approx(score(3, 20), abs=1e-4)


def test_transformer_takes_any_length_and_mixes_all_of_it() -> None:
    torch.manual_seed(0)
    model = Transformer(layers=2, width=16, heads=2, hidden=32, dropout=0.0).eval()
    x = torch.randn(1, 300, 16)
    before = model(x)
    x[0, 299] += 1
    assert before.shape == (1, 300, 16)
    assert float((model(x) - before)[0, 0].detach().abs().max()) > 0


@pytest.mark.parametrize(("reach", "far"), [(1, 3), (4, 12)])
@torch.no_grad()
def test_a_reach_limits_what_comes_to_a_step(reach: int, far: int) -> None:
    torch.manual_seed(0)
    model = Transformer(layers=3, width=16, heads=2, hidden=32, dropout=0.0, reach=reach).eval().double()
    x = torch.randn(1, 60, 16, dtype=torch.float64)
    before = model(x)
    x[0, 30] = torch.randn(16)  # a constant would be taken away by the norm
    changed = torch.nonzero((model(x) - before)[0].abs().amax(dim=1) > 1e-13).flatten().tolist()
    assert changed == list(range(30 - far, 30 + far + 1))  # a layer after another, a reach each


@pytest.mark.parametrize("length", [2, 5, 40, 250])
def test_masks_hide_spans_and_leave_something(length: int) -> None:
    masks = np.stack([sample_span_mask(length, np.random.default_rng(i)) for i in range(200)])
    assert masks.any(axis=1).all()
    assert not masks.all(axis=1).any()
    if length >= 40:
        assert 0.45 < masks.mean() < 0.65  # a budget of 0.8 with overlaps: 1 - exp(-0.8)
        runs = np.diff(np.flatnonzero(np.diff(np.pad(masks[0], 1).astype(int))))[::2]
        assert runs.min() >= 5
