"""Drawing in bfloat16 where that is fast; geometry and sound stay in single precision."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.models.lips import LipModel
from cals.models.unet import UNet

Precision = Literal["auto", "fp32", "bf16"]


def bf16_is_fast(device: torch.device) -> bool:
    """Whether bfloat16 pays there: on GPUs that have it and on CPUs with AMX; AVX-512's is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # torch has no public question for it
    return device.type == "cpu" and has_amx is not None and bool(has_amx())


def draw_in(network: LipModel, precision: Precision) -> None:
    """Set what the network's pixels are drawn in, wherever it is now; changes how it runs, not its weights.

    Only the convolutions over pixels: coordinates would lose a fraction of a pixel in bfloat16.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision: expected one of {', '.join(get_args(Precision))}, found {precision!r}")
    device = next(network.parameters()).device
    low = precision == "bf16" or (precision == "auto" and bf16_is_fast(device))
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
