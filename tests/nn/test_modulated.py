"""Modulated convolutions against their definition, sample by sample."""

import pytest
import torch
from torch.nn.functional import conv2d, interpolate

from cals.nn.modulated import ModulatedConv, StyledBlock


@pytest.mark.parametrize(("kernel", "demodulate"), [(3, True), (3, False), (1, False)])
@torch.no_grad()
def test_every_sample_has_weights_of_its_own(kernel: int, demodulate: bool) -> None:
    torch.manual_seed(0)
    conv = ModulatedConv(5, 7, style=4, kernel=kernel, demodulate=demodulate)
    x, style = torch.randn(3, 5, 8, 6), torch.randn(3, 4)
    found = conv(x, style)
    for i in range(3):
        weight = conv.weight * conv.gain * conv.read(style[i])[None, :, None, None]
        if demodulate:
            weight = weight / weight.flatten(1).norm(dim=1)[:, None, None, None]
        torch.testing.assert_close(
            found[i : i + 1], conv2d(x[i : i + 1], weight, padding=kernel // 2), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
@torch.no_grad()
def test_demodulation_keeps_the_variance_whatever_the_style_says(strength: float) -> None:
    torch.manual_seed(0)
    x, style = torch.randn(4, 32, 24, 24), strength * torch.randn(4, 16)
    kept, scaled = (ModulatedConv(32, 64, style=16, demodulate=demodulate) for demodulate in (True, False))
    for conv in (kept, scaled):
        torch.nn.init.normal_(conv.read.weight)
        torch.nn.init.zeros_(conv.read.bias)
    assert float(kept(x, style)[..., 1:-1, 1:-1].std()) == pytest.approx(1, abs=0.05)
    if strength != 1:
        assert abs(float(scaled(x, style).std()) - 1) > 0.5


@torch.no_grad()
def test_a_block_doubles_the_size_and_paints_it() -> None:
    torch.manual_seed(0)
    block = StyledBlock(6, 4, style=5)
    x, style = torch.randn(2, 6, 4, 4), torch.randn(2, 5)
    features, picture = block(x, style)
    assert (features.shape, picture.shape) == ((2, 4, 8, 8), (2, 3, 8, 8))
    assert float(interpolate(picture, size=4, mode="area").std()) > 0.1
    other = block(x, style.flip(0))[1]
    assert float((other - picture).abs().max()) > 0.1
