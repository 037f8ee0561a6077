import pytest
import torch

from cals.errors import ConfigError
from cals.losses.adversarial import discriminator_loss
from cals.models.discriminator import Discriminator, DiscriminatorConfig


@pytest.mark.parametrize(("patches", "shape"), [(False, (3,)), (True, (3, 4, 8))])
def test_logits_of_lower_halves(patches: bool, shape: tuple[int, ...]) -> None:
    model = Discriminator(DiscriminatorConfig(width=4, patches=patches))
    assert model(torch.rand(3, 3, 64, 128)).shape == shape


def test_no_picture_is_judged_by_its_neighbours() -> None:
    model = Discriminator(DiscriminatorConfig(width=4))
    pictures = torch.rand(3, 3, 64, 128)
    torch.testing.assert_close(model(pictures)[:1], model(pictures[:1]))


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    model = Discriminator(DiscriminatorConfig(width=4, spectral=True)).train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.parametrizations.weight.original.data.mul_(100)
    with torch.no_grad():
        for _ in range(50):
            model(torch.rand(1, 3, 64, 128))
    weights = [layer.weight.flatten(1) for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(weights) == 5
    for weight in weights:
        assert float(torch.linalg.matrix_norm(weight.detach(), 2)) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("patches", [False, True])
def test_it_learns_to_tell_sharp_from_blurred(patches: bool) -> None:
    torch.manual_seed(0)
    model = Discriminator(DiscriminatorConfig(width=4, levels=2, crop_px=32, patches=patches))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def batch() -> torch.Tensor:
        real = torch.rand(8, 3, 16, 32)
        return torch.cat([real, torch.nn.functional.avg_pool2d(real, 3, 1, 1)])

    for _ in range(60):
        loss = discriminator_loss(*model(batch()).chunk(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    real, blurred = model(batch()).chunk(2)
    assert real.mean() > 0 > blurred.mean()


@pytest.mark.parametrize("wrong", [{"crop_px": 100}, {"width": 0}, {"levels": 0}])
def test_configs_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="discriminator: expected"):
        DiscriminatorConfig(**wrong)
