"""Where bfloat16 is faster than float32."""

import torch


def is_bf16_fast(device: torch.device) -> bool:
    """Return whether bfloat16 is faster than fp32: on GPUs that support it and on CPUs with AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # torch has no public function for it
    return device.type == "cpu" and has_amx is not None and bool(has_amx())
