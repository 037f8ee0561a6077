"""Where bfloat16 pays."""

import torch


def is_bf16_fast(device: torch.device) -> bool:
    """Whether bfloat16 pays there: on GPUs that have it and on CPUs with AMX; elsewhere it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # torch has no public question for it
    return device.type == "cpu" and has_amx is not None and bool(has_amx())
