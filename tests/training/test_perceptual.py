"""GAN and sync losses: weights, and the steps at which they begin."""

import math

import pytest
import torch

from cals.errors import ConfigError
from cals.losses.sync import d_av, d_vv
from cals.models.discriminator import DiscriminatorConfig
from cals.models.sync import SyncConfig, SyncModel
from cals.training.perceptual import PerceptualLossConfig, PerceptualLosses

CRITIC = DiscriminatorConfig(width=4)


@pytest.fixture
def sync() -> SyncModel:
    torch.manual_seed(0)
    return SyncModel(SyncConfig(width=4, embedding=16))


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Build two windows of crops, generated and real, and their mel."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.rand(2, 2, 5, 3, 128, 128, generator=generator)
    return pictures[0], pictures[1], -80 * torch.rand(2, 20, 80, generator=generator)


def test_without_weight_nothing_is_said_nor_computed(sync: SyncModel) -> None:
    judges = PerceptualLosses(PerceptualLossConfig(gan=0, d_av=0, d_vv=0), CRITIC, sync)
    generated, real, mel = batch()
    assert judges.discriminator is None
    assert judges.compute_image_losses(generated.flatten(0, 1), real.flatten(0, 1), 5) == {}
    assert judges.compute_sync_losses(generated, real, mel, 5) == {}
    one = PerceptualLosses(PerceptualLossConfig(gan=0, d_av=0.5, d_vv=0), CRITIC, sync)
    assert list(one.compute_sync_losses(generated, real, mel, 5)) == ["d_av"]


def test_sync_losses_are_those_of_the_frozen_encoders(sync: SyncModel) -> None:
    judges = PerceptualLosses(PerceptualLossConfig(d_av=0.3, d_vv=0.7, temperature=0.5), CRITIC, sync)
    generated, real, mel = batch()
    said = judges.compute_sync_losses(generated.requires_grad_(), real, mel, 0)
    lower = (..., slice(64, None), slice(None))
    drawn, heard, seen = sync.visual(generated[lower]), sync.audio(mel), sync.visual(real[lower])
    torch.testing.assert_close(said["d_av"], 0.3 * d_av(drawn, heard))
    torch.testing.assert_close(said["d_vv"], 0.7 * d_vv(drawn, seen, 0.5))
    (said["d_av"] + said["d_vv"]).backward()
    assert generated.grad is not None
    assert float(generated.grad[lower].abs().max()) > 0
    assert float(generated.grad[..., :64, :].abs().max()) == 0  # judged by the lower half only
    assert not any(parameter.requires_grad for parameter in sync.parameters())
    assert not sync.training


def test_sync_losses_wait_for_their_step(sync: SyncModel) -> None:
    judges = PerceptualLosses(PerceptualLossConfig(sync_from_step=10), CRITIC, sync)
    generated, real, mel = batch()
    assert judges.compute_sync_losses(generated, real, mel, 9) == {}
    assert set(judges.compute_sync_losses(generated, real, mel, 10)) == {"d_av", "d_vv"}


def test_the_critic_has_no_say_before_it_has_learned(sync: SyncModel) -> None:
    judges = PerceptualLosses(PerceptualLossConfig(gan=0.4, discriminator_from_step=3), CRITIC, sync)
    assert judges.discriminator is not None
    generated, real = (windows.flatten(0, 1) for windows in batch()[:2])
    assert judges.compute_image_losses(generated, real, 3) == {}
    with torch.no_grad():
        judges.discriminator.head.weight.zero_()
        judges.discriminator.head.bias.zero_()
    said = judges.compute_image_losses(generated, real, 4)
    assert said["gan"].item() == pytest.approx(0.4 * math.log(2))


def test_the_critic_judges_what_was_shown_last_and_teaches_nobody(sync: SyncModel) -> None:
    judges = PerceptualLosses(PerceptualLossConfig(), CRITIC, sync)
    assert judges.discriminator is not None
    with pytest.raises(RuntimeError, match="shown nothing"):
        judges.compute_discriminator_losses(judges.discriminator)
    generated, real, _ = batch()
    generated, real = generated.flatten(0, 1).requires_grad_(), real.flatten(0, 1)
    judges.compute_image_losses(generated, real, 0)
    seen: list[torch.Tensor] = []

    class Spy(torch.nn.Module):
        def forward(self, lower: torch.Tensor) -> torch.Tensor:
            seen.append(lower)
            return torch.cat([torch.full((10,), 2.0), torch.full((10,), -1.0)]).requires_grad_()

    loss = judges.compute_discriminator_losses(Spy())["total"]
    assert torch.equal(seen[0], torch.cat([real, generated])[..., 64:, :])
    assert loss.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2)
    loss.backward()
    assert generated.grad is None


def test_whole_crops_are_judged_and_their_features_matched(sync: SyncModel) -> None:
    with pytest.raises(ConfigError, match="expected a discriminator with patches"):
        PerceptualLosses(PerceptualLossConfig(whole=True), CRITIC, sync)
    config = PerceptualLossConfig(gan=0.5, match=2.0, d_av=0, d_vv=0, whole=True)
    judges = PerceptualLosses(config, DiscriminatorConfig(width=4, patches=True), sync)
    assert judges.discriminator is not None
    generated, real, _ = batch()
    crops, true = generated.flatten(0, 1).requires_grad_(), real.flatten(0, 1)
    losses = judges.compute_image_losses(crops, true, 1)
    assert set(losses) == {"gan", "match"}
    differences = [
        (a - b).abs().mean()
        for a, b in zip(judges.discriminator.features(crops), judges.discriminator.features(true), strict=True)
    ]
    torch.testing.assert_close(losses["match"], 2 * torch.stack(differences).mean())
    losses["match"].backward()
    assert crops.grad is not None
    assert float(crops.grad[:, :, :64].abs().max()) > 0  # the upper half counts too
    torch.testing.assert_close(judges.compute_image_losses(true, true, 1)["match"], torch.tensor(0.0))
