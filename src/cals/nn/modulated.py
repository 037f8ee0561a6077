"""Convolutions whose weights a vector scales (Karras et al., 2020)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, leaky_relu

_EPSILON = 1e-8


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style; demodulation keeps the output's variance.

    Scaling the input and the output equals scaling the weights of every sample, and needs one convolution for the
    batch.
    """

    def __init__(self, channels: int, out: int, style: int, kernel: int = 3, *, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, kernel, kernel))
        self.gain = 1 / math.sqrt(channels * kernel**2)
        """Factor of the weights, which are drawn with deviation 1: all layers then learn at one rate."""
        self.read = nn.Linear(style, channels)
        nn.init.ones_(self.read.bias)
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map [b channels h w] and [b style] to [b out h w]."""
        scales, weight = self.read(style), self.weight * self.gain
        y = conv2d(x * scales[..., None, None], weight, padding=weight.shape[-1] // 2)
        if self.demodulate:
            energy = scales.square() @ weight.square().sum(dim=(2, 3)).T
            y = y * torch.rsqrt(energy + _EPSILON)[..., None, None]
        return y


class StyledBlock(nn.Module):
    """Upsampling by 2, two modulated convolutions, and the output of this size to RGB."""

    def __init__(self, channels: int, out: int, style: int) -> None:
        super().__init__()
        self.first, self.second = ModulatedConv(channels, out, style), ModulatedConv(out, out, style)
        self.biases = nn.Parameter(torch.zeros(2, out, 1, 1))
        self.paint = ModulatedConv(out, 3, style, 1, demodulate=False)

    def forward(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Map [b channels h w] and [b style] to features [b out 2h 2w] and their RGB [b 3 2h 2w]."""
        x = upsample(x)
        for conv, bias in zip((self.first, self.second), self.biases, strict=True):
            x = leaky_relu(conv(x, style) + bias, 0.2) * math.sqrt(2)
        return x, self.paint(x, style)


def upsample(x: Tensor) -> Tensor:
    """Upsample [b c h w] to [b c 2h 2w], bilinear: nearest neighbours leave blocks that a small network keeps."""
    return interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
