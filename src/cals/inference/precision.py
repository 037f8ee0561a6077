"""Rendering in bfloat16 where that is fast; geometry and sound stay in float32."""

from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.models.lips import LipModel
from cals.models.unet import UNet
from cals.nn.precision import is_bf16_fast
from cals.options import Precision


def set_precision(network: LipModel, precision: Precision) -> None:
    """Set the precision of the network's convolutions over pixels, on its present device; weights do not change.

    Nothing else runs in bfloat16: coordinates would lose a fraction of a pixel.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision: expected one of {', '.join(get_args(Precision))}, found {precision!r}")
    device = next(network.parameters()).device
    use_bf16 = precision == "bf16" or (precision == "auto" and is_bf16_fast(device))
    for module in network.modules():
        if isinstance(module, UNet):
            module.to(memory_format=torch.channels_last if use_bf16 else torch.contiguous_format)  # type: ignore[call-overload]
            module.__dict__.pop("forward", None)
            if use_bf16:
                module.forward = _build_bf16_forward(module, device.type)  # type: ignore[method-assign]


def _build_bf16_forward(module: nn.Module, device_type: str) -> Callable[..., Tensor]:
    inner = module.forward

    def forward(*inputs: Any) -> Tensor:
        with torch.autocast(device_type, torch.bfloat16):
            output: Tensor = inner(*inputs)
        return output.float()

    return forward
