"""What teaches a memory, against closed forms, and whom it teaches."""

import math

import pytest
import torch
from torch import nn

from cals.losses.memory import align_loss, feature_distance, store_loss


def test_store_is_the_mean_squared_error_and_the_features_are_a_target() -> None:
    recalled = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    lips = torch.tensor([[0.0, 4.0], [0.0, 1.0]], requires_grad=True)
    loss = store_loss(recalled, lips)
    assert loss.item() == pytest.approx((1 + 4 + 0 + 1) / 4)
    loss.backward()
    torch.testing.assert_close(recalled.grad, (recalled - lips).detach() / 2)
    assert lips.grad is None


def test_align_is_the_divergence_of_the_key_from_the_value_address() -> None:
    value = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], requires_grad=True)
    key = torch.tensor([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]], requires_grad=True)
    first = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    loss = align_loss(value, key)
    assert loss.item() == pytest.approx((first + math.log(2)) / 2, abs=1e-6)
    loss.backward()
    assert value.grad is None
    torch.testing.assert_close(key.grad, (-value / key).detach() / 2, atol=1e-6, rtol=1e-5)
    assert align_loss(value, value).item() == pytest.approx(0, abs=1e-6)
    assert math.isfinite(align_loss(value, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).item())


class Encoder(nn.Module):
    """Crops to their brightness, after a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 4)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(crops.flatten(0, 1)).mean(dim=(2, 3))).view(*crops.shape[:2], 4)


def test_lip_features_teach_only_what_was_generated() -> None:
    torch.manual_seed(0)
    encoder = Encoder().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    real = torch.rand(2, 5, 3, 8, 8, requires_grad=True)
    generated = torch.rand(4, 5, 3, 8, 8, requires_grad=True)
    loss = feature_distance(encoder, generated, real)
    loss.backward()
    assert generated.grad is not None
    assert float(generated.grad.abs().min(dim=0).values.max()) > 0
    assert real.grad is None
    assert all(weight.grad is None and weight.requires_grad for weight in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())  # its statistics, too

    with torch.no_grad():
        features = encoder(torch.cat([real, generated]))
        expected = (features[2:4] - features[:2]).abs().mean() + (features[4:] - features[:2]).abs().mean()
    assert loss.item() == pytest.approx(expected.item() / 2, rel=1e-5)
    assert feature_distance(encoder, torch.cat([real, real]), real).item() == pytest.approx(0, abs=1e-6)
