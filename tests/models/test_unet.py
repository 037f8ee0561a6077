import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cals.errors import ConfigError
from cals.models.unet import UNet, UNetConfig

PAPER = UNetConfig()
SMALL = UNetConfig(unit=256, width=24, widest=384, levels=5, block_px=2)
DEBUG = UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=2)


def inputs(config: UNetConfig, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pictures = torch.rand(2, batch, 3, config.crop_px, config.crop_px)
    return torch.randn(batch, config.unit), pictures[0], pictures[1]


def gflop(config: UNetConfig) -> float:
    with torch.device("meta"):
        model, arguments = UNet(config).eval(), inputs(config)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(*arguments)
    return float(counter.get_total_flops()) / 1e9


def test_the_cost_of_a_frame() -> None:
    assert 8 < gflop(PAPER) < 16
    assert gflop(SMALL) < 2
    assert gflop(DEBUG) < 0.1


@pytest.mark.parametrize("block_px", [1, 2])
def test_it_draws_crops_of_the_inputs_size(block_px: int) -> None:
    config = UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=block_px, crop_px=64)
    crops = UNet(config)(*inputs(config, batch=2))
    assert crops.shape == (2, 3, 64, 64)
    assert crops.min() >= 0
    assert crops.max() <= 1


def test_it_heeds_all_it_is_given_and_each_picture_alone() -> None:
    torch.manual_seed(0)
    model, given = UNet(DEBUG).eval(), inputs(DEBUG, batch=2)
    before = model(*given)
    for changed in range(3):
        others = [value.clone() for value in given]
        others[changed][0] = 1 - others[changed][0]
        after = model(*others)
        assert float((after[0] - before[0]).detach().abs().max()) > 1e-4
        torch.testing.assert_close(after[1], before[1])


def test_it_learns_two_mouths_told_apart_by_their_units() -> None:
    torch.manual_seed(0)
    config = UNetConfig(unit=4, width=4, widest=16, levels=3, block_px=2, crop_px=32)
    model = UNet(config)
    units, face = torch.eye(4)[:2], torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    target = face.clone()
    target[0, :, 20:28, 8:24], target[1, :, 20:28, 8:24] = 0.1, 0.9
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(120):
        error = (model(units, face, face) - target).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    mouths = model(units, face, face)[:, :, 20:28, 8:24].mean(dim=(1, 2, 3))
    assert mouths[0] < 0.3
    assert mouths[1] > 0.7


@pytest.mark.parametrize("wrong", [{"crop_px": 100}, {"width": 0}, {"block_px": 4}, {"widest": 8}])
def test_configs_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="unet: expected"):
        UNetConfig(**wrong)
