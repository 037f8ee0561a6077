"""Losses against closed forms."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from cals.losses.contrastive import info_nce, retrieval_accuracy
from cals.losses.recognition import supervise_scores
from cals.losses.reconstruction import l1, unit_loss
from cals.losses.sync import d_av, d_vv


def test_info_nce_of_orthogonal_pairs() -> None:
    pairs = torch.eye(4)
    expected = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 3))
    assert float(info_nce(pairs, pairs, temperature=0.5)) == pytest.approx(expected)
    assert float(retrieval_accuracy(pairs, pairs)) == 1.0


def test_info_nce_at_chance_is_the_logarithm_of_the_batch() -> None:
    same = normalize(torch.ones(8, 3), dim=1)
    assert float(info_nce(same, same)) == pytest.approx(math.log(8))


def test_info_nce_looks_both_ways() -> None:
    a = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1]]), dim=1)
    b = normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), dim=1)
    logits = a @ b.T / 0.07
    rows = torch.logsumexp(logits, 1) - logits.diag()
    columns = torch.logsumexp(logits, 0) - logits.diag()
    assert float(info_nce(a, b)) == pytest.approx(float((rows.mean() + columns.mean()) / 2))


@pytest.mark.parametrize(
    ("angle", "expected"), [(0.0, 0.0), (math.pi / 2, math.log(2)), (math.pi / 3, -math.log(0.75))]
)
def test_d_av(angle: float, expected: float) -> None:
    a = torch.tensor([[1.0, 0.0]])
    b = torch.tensor([[math.cos(angle), math.sin(angle)]])
    assert float(d_av(a, b)) == pytest.approx(expected, abs=1e-6)


def test_d_av_of_opposites_is_finite() -> None:
    assert math.isfinite(float(d_av(torch.tensor([[1.0]]), torch.tensor([[-1.0]]))))


def test_d_vv_as_published() -> None:
    real = torch.eye(3)
    assert float(d_vv(2 * real, real)) == pytest.approx(-math.log(math.e / (math.e + 2)))  # cosine: length is nothing
    assert float(d_vv(real.roll(1, 0), real)) == pytest.approx(-math.log(1 / (math.e + 2)))


def test_unit_error_sums_over_width_and_averages_over_weighted_steps() -> None:
    units, targets = torch.zeros(1, 3, 4), torch.ones(1, 3, 4)
    targets[0, 2] = 5
    assert float(unit_loss(units, targets, torch.tensor([[1.0, 1.0, 0.0]]))) == pytest.approx(4.0)
    assert float(unit_loss(units, targets, torch.tensor([[0.0, 0.5, 0.5]]))) == pytest.approx((4 + 100) / 2)
    assert float(unit_loss(units, targets, torch.zeros(1, 3))) == 0.0


def test_l1() -> None:
    assert float(l1(torch.zeros(2, 3), torch.full((2, 3), -2.0))) == 2.0


def test_supervised_scores_are_the_probability_that_a_frame_is_clean() -> None:
    scores = {"audio": torch.tensor([[[0.7, 0.9], [0.1, 0.3], [1.0, 1.0]]]), "video": torch.full((1, 3, 2), 0.5)}
    clean = {"audio": torch.tensor([[True, False, False]]), "video": torch.tensor([[False, True, True]])}
    valid = torch.tensor([[True, True, False]])  # the last frame, where the score is wrong, does not count
    assert float(supervise_scores(scores, clean, valid)) == pytest.approx((math.log(1 / 0.8) + math.log(2)) / 2)
