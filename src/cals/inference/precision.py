"""Drawing in bfloat16 where that is fast; geometry and sound stay in single precision."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.models.lips import LipModel
from cals.models.unet import UNet
from cals.nn.precision import is_bf16_fast

Precision = Literal["auto", "fp32", "bf16"]


def draw_in(network: LipModel, precision: Precision) -> None:
    """Set what the network's pixels are drawn in, wherever it is now; changes how it runs, not its weights.

    Only the convolutions over pixels: coordinates would lose a fraction of a pixel in bfloat16.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision: expected one of {', '.join(get_args(Precision))}, found {precision!r}")
    device = next(network.parameters()).device
    low = precision == "bf16" or (precision == "auto" and is_bf16_fast(device))
    for part in network.modules():
        if isinstance(part, UNet):
            part.to(memory_format=torch.channels_last if low else torch.contiguous_format)  # type: ignore[call-overload]
            part.__dict__.pop("forward", None)
            if low:
                part.forward = _in_bf16(part, device.type)  # type: ignore[method-assign]


def _in_bf16(part: nn.Module, device_type: str) -> Callable[..., Tensor]:
    inner = part.forward

    def forward(*inputs: Any) -> Tensor:
        with torch.autocast(device_type, torch.bfloat16):
            drawn: Tensor = inner(*inputs)
        return drawn.float()

    return forward
