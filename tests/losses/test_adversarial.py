"""Adversarial losses against their closed forms."""

import math

import pytest
import torch

from cals.losses.adversarial import discriminator_loss, generator_loss


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_discriminator_loss_is_the_cross_entropy_of_both_kinds() -> None:
    expected = -(math.log(sigmoid(2.0)) + math.log(sigmoid(-1.0))) / 4 - (math.log(1 - sigmoid(0.5))) / 2
    assert float(discriminator_loss(torch.tensor([2.0, -1.0]), torch.tensor([0.5]))) == pytest.approx(expected)


def test_generator_loss_wants_to_be_taken_for_real() -> None:
    assert float(generator_loss(torch.tensor([0.7]))) == pytest.approx(-math.log(sigmoid(0.7)))


def test_chance_is_log_two_for_pictures_and_patches() -> None:
    for shape in ((4,), (4, 2, 3)):
        zero = torch.zeros(shape)
        assert float(discriminator_loss(zero, zero)) == pytest.approx(math.log(2))
        assert float(generator_loss(zero)) == pytest.approx(math.log(2))


def test_a_sure_discriminator_still_teaches() -> None:
    logits = torch.tensor([-200.0], requires_grad=True)
    loss = generator_loss(logits)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(200.0)
    assert logits.grad is not None
    assert float(logits.grad) == pytest.approx(-1.0)
    assert float(discriminator_loss(torch.tensor([200.0]), torch.tensor([-200.0]))) == 0.0
