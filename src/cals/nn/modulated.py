"""Convolutions whose weights a vector scales (Karras et al., 2020)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, leaky_relu

_LEAST = 1e-8


class ModulatedConv(nn.Module):
    """A convolution whose input channels a style scales; demodulation keeps the output's variance whatever it says.

    To scale the input and the output gives the same as to scale every sample's own weights, and one convolution does
    for the batch.
    """

    def __init__(self, channels: int, out: int, style: int, kernel: int = 3, *, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, kernel, kernel))
        self.gain = 1 / math.sqrt(channels * kernel**2)
        """What the weights, drawn with deviation 1, are multiplied by: so all layers learn at one rate."""
        self.read = nn.Linear(style, channels)
        nn.init.ones_(self.read.bias)
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[b channels h w], [b style] -> [b out h w]."""
        scales, weight = self.read(style), self.weight * self.gain
        y = conv2d(x * scales[..., None, None], weight, padding=weight.shape[-1] // 2)
        if self.demodulate:
            energy = scales.square() @ weight.square().sum(dim=(2, 3)).T
            y = y * torch.rsqrt(energy + _LEAST)[..., None, None]
        return y


class StyledBlock(nn.Module):
    """Twice the size, two modulated convolutions, and this size's share of the picture."""

    def __init__(self, channels: int, out: int, style: int) -> None:
        super().__init__()
        self.first, self.second = ModulatedConv(channels, out, style), ModulatedConv(out, out, style)
        self.biases = nn.Parameter(torch.zeros(2, out, 1, 1))
        self.paint = ModulatedConv(out, 3, style, 1, demodulate=False)

    def forward(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """[b channels h w], [b style] -> [b out 2h 2w] and its picture [b 3 2h 2w]."""
        x = enlarge(x)
        for conv, bias in zip((self.first, self.second), self.biases, strict=True):
            x = leaky_relu(conv(x, style) + bias, 0.2) * math.sqrt(2)
        return x, self.paint(x, style)


def enlarge(x: Tensor) -> Tensor:
    """[b c h w] -> [b c 2h 2w], bilinear: nearest neighbours leave blocks that a small network does not get rid of."""
    return interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
