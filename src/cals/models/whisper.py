"""The lower half of Whisper's encoder as a frozen phonetic front-end (Radford et al., 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu, layer_norm, linear, scaled_dot_product_attention

from cals.errors import CheckpointError

KIND = "whisper"
_LOUDEST_QUANTILE = 0.98
"""Quantile over frames of the loudest mel bin that defines the level, so that a click does not set it."""
_TARGET_LEVEL = 1.5
"""Level after normalisation, in decades of power: that of speech at full scale."""
_MAX_GAIN = 7.0
"""Largest gain in decades: speech at -50 dB reaches the level, digital silence stays silent."""
_RANGE = 8.0
"""Dynamic range of Whisper's features in decades; levels further below the loudest bin are clamped."""


@dataclass(frozen=True, kw_only=True)
class WhisperConfig:
    """Sizes of tiny.en, of whose 4 layers the lower `layers` are used.

    The lower half encodes phones, also of new speakers; the last layer encodes words.
    """

    layers: int = 2
    width: int = 384
    heads: int = 6
    hidden: int = 1536
    bins: int = 80
    positions: int = 1500
    """Length of the table of positional embeddings, 30 s of 20 ms steps."""


def list_weight_shapes(config: WhisperConfig) -> dict[str, tuple[int, ...]]:
    """List names and shapes of the weights, as `load_weights` expects them."""
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
    """Log-mel to phonetic features, two steps of `width` per video frame; never trained.

    Its weights are not part of the checkpoints of the models that use it. They are non-persistent buffers, set by
    `load_weights`.
    """

    loaded: bool = False

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        for name, shape in list_weight_shapes(config).items():
            self.register_buffer(name, torch.zeros(shape), persistent=False)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load weights as in `list_weight_shapes`, in any precision; raises CheckpointError when one is missing."""
        for name, shape in list_weight_shapes(self.config).items():
            if name not in weights or tuple(weights[name].shape) != shape:
                raise CheckpointError(
                    f"whisper: expected {name} of {list(shape)}, found {_describe_shape(weights, name)}"
                )
            self.get_buffer(name).copy_(weights[name])
        self.loaded = True

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        """Compute features [b m/2 width] of log-mel power [b m f] in dB, m even and at most twice `positions`."""
        if not self.loaded:
            raise CheckpointError("whisper: expected weights before use, found none; load them with `load_weights`")
        return self.encode(normalize_level(mel))

    def encode(self, features: Tensor) -> Tensor:
        """Encode Whisper's own input features [b m f] -> [b m/2 width]."""
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
    """Convert log-mel power [b m f] in dB to Whisper's input features [b m f], normalised to one level.

    Whisper takes log10 of the power, clamps it 8 decades below the loudest bin and computes (x + 4) / 4. The loudness
    of a recording carries no phonetic information, so it is normalised first.
    """
    power = mel / 10
    loudest = power.amax(dim=2).float().quantile(_LOUDEST_QUANTILE, dim=1)[:, None, None]
    power = power + (_TARGET_LEVEL - loudest).clamp(max=_MAX_GAIN)
    return (power.clamp(_TARGET_LEVEL - _RANGE, _TARGET_LEVEL + 1) + 4) / 4


def _describe_shape(weights: Mapping[str, Tensor], name: str) -> str:
    return str(list(weights[name].shape)) if name in weights else "none"
