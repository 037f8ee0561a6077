"""The lower half of Whisper's encoder as a frozen phonetic front-end (Radford et al., 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu, layer_norm, linear, scaled_dot_product_attention

from cals.errors import CheckpointError

KIND = "whisper"
_LOUDEST_SHARE = 0.98
"""The level is that of the loudest mel bin in this quantile of the frames: a click does not set it."""
_LEVEL = 1.5
"""What that bin is brought to, in decades of power: where speech at full scale lies."""
_MOST_GAIN = 7.0
"""Decades by which a quiet recording is raised at most: speech at -50 dB is heard, digital silence stays silent."""
_RANGE = 8.0
"""Decades below the loudest bin at which Whisper's features are clamped."""


@dataclass(frozen=True, kw_only=True)
class WhisperConfig:
    """Sizes of tiny.en; `layers` of its 4 are used: the lower half tells phones of strangers, the last layer words."""

    layers: int = 2
    width: int = 384
    heads: int = 6
    hidden: int = 1536
    bins: int = 80
    positions: int = 1500
    """Length of the position table, 30 s of 20 ms steps."""


def weight_shapes(config: WhisperConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, as `load_weights` wants them."""
    width = config.width
    shapes: dict[str, tuple[int, ...]] = {
        "conv1_weight": (width, config.bins, 3),
        "conv1_bias": (width,),
        "conv2_weight": (width, width, 3),
        "conv2_bias": (width,),
        "positions": (config.positions, width),
    }
    for layer in range(config.layers):
        sizes = {"qkv": (3 * width, width), "out": (width, width)}
        sizes |= {"up": (config.hidden, width), "down": (width, config.hidden)}
        for name, size in sizes.items():
            shapes |= {f"{layer}_{name}_weight": size, f"{layer}_{name}_bias": size[:1]}
        for name in ("attention", "feed"):
            shapes |= {f"{layer}_{name}_norm_weight": (width,), f"{layer}_{name}_norm_bias": (width,)}
    return shapes


class WhisperEncoder(nn.Module):
    """Log-mel to phonetic features, two steps of `width` a video frame.

    Its weights are not part of the checkpoints of the models that hear with it: they are buffers that stay out of the
    state and come from `load_weights`. Never trained.
    """

    loaded: bool = False

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        for name, shape in weight_shapes(config).items():
            self.register_buffer(name, torch.zeros(shape), persistent=False)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights of `weight_shapes`, in any precision; raises CheckpointError when one is missing."""
        for name, shape in weight_shapes(self.config).items():
            if name not in weights or tuple(weights[name].shape) != shape:
                raise CheckpointError(f"whisper: expected {name} of {list(shape)}, found {_found(weights, name)}")
            self.get_buffer(name).copy_(weights[name])
        self.loaded = True

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel power [b m f] in dB, m even and at most twice `positions` -> features [b m/2 width]."""
        if not self.loaded:
            raise CheckpointError("whisper: expected weights before use, found none; load them with `load_weights`")
        return self.encode(normalize_level(mel))

    def encode(self, features: Tensor) -> Tensor:
        """Whisper's own input features [b m f] -> [b m/2 width]."""
        get = self.get_buffer
        x = gelu(conv1d(features.transpose(1, 2), get("conv1_weight"), get("conv1_bias"), padding=1))
        x = gelu(conv1d(x, get("conv2_weight"), get("conv2_bias"), stride=2, padding=1)).transpose(1, 2)
        x = x + get("positions")[: x.shape[1]]
        for layer in range(self.config.layers):
            x = x + self._attend(self._norm(x, f"{layer}_attention"), layer)
            x = x + self._linear(gelu(self._linear(self._norm(x, f"{layer}_feed"), f"{layer}_up")), f"{layer}_down")
        return x

    def _attend(self, x: Tensor, layer: int) -> Tensor:
        batch, steps, width = x.shape
        parts = self._linear(x, f"{layer}_qkv").view(batch, steps, 3, self.config.heads, -1).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self._linear(attended.transpose(1, 2).reshape(batch, steps, width), f"{layer}_out")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.get_buffer(f"{name}_norm_weight"), self.get_buffer(f"{name}_norm_bias")
        return layer_norm(x, x.shape[-1:], weight, bias)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return linear(x, self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias"))


def normalize_level(mel: Tensor) -> Tensor:
    """Log-mel power [b m f] in dB as Whisper's features [b m f], at one level whatever the recording's.

    Whisper takes log10 of the power, no more than 8 decades below the loudest bin, then (x + 4) / 4. How loud a
    recording is says nothing of its phones, so each is first brought to the same level.
    """
    power = mel / 10
    loudest = power.amax(dim=2).float().quantile(_LOUDEST_SHARE, dim=1)[:, None, None]
    power = power + (_LEVEL - loudest).clamp(max=_MOST_GAIN)
    return (power.clamp(_LEVEL - _RANGE, _LEVEL + 1) + 4) / 4


def _found(weights: Mapping[str, Tensor], name: str) -> str:
    return str(list(weights[name].shape)) if name in weights else "none"
