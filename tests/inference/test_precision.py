"""Drawing in bf16: near fp32, undone without a trace, and only where it is asked for."""

import pytest
import torch

from cals.errors import ConfigError
from cals.inference.precision import set_precision
from cals.models.a2l import A2LConfig
from cals.models.cals import UNetLips, UNetLipsConfig
from cals.models.debug import DebugConfig, DebugLips
from cals.models.lips import Gallery
from cals.models.unet import UNetConfig


def test_bf16_stays_within_a_level_and_fp32_brings_every_bit_back() -> None:
    torch.manual_seed(0)
    a2l = A2LConfig(unit=16, channels=(4, 8), width=16, layers=1, heads=2, hidden=32)
    decoder = UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=2)
    network = UNetLips(UNetLipsConfig(a2l=a2l, decoder=decoder)).eval()
    points = torch.rand(2, 468, 3)
    faces = Gallery(torch.rand(2, 3, 128, 128), points, torch.tensor([0.0, 1.0]), points)
    units, keys = torch.randn(2, 16), network.state_dict().keys()

    with torch.inference_mode():
        fp32 = network.render(units, faces, faces)
        set_precision(network, "bf16")
        set_precision(network, "bf16")
        bf16 = network.render(units, faces, faces)
        set_precision(network, "fp32")
        fp32_again = network.render(units, faces, faces)

    assert bf16.dtype == torch.float32
    assert not torch.equal(bf16, fp32)
    assert float((bf16 - fp32).abs().mean()) < 1 / 255
    assert torch.equal(fp32_again, fp32)
    assert network.state_dict().keys() == keys


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="fp8"):
        set_precision(DebugLips(DebugConfig()), "fp8")  # type: ignore[arg-type]
