"""Convolution blocks."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, PReLU; [b c h w] -> [b out h/stride w/stride]."""

    def __init__(self, channels: int, out: int, kernel: int = 3, stride: int | tuple[int, int] = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out), nn.PReLU(out)
        )


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection; the size stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.activation = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [b c h w] to [b c h w]."""
        out: Tensor = self.activation(x + self.second(self.first(x)))
        return out


class UpBlock(nn.Module):
    """Upsampling by 2, concatenated with a skip of that size.

    Nearest neighbours and a convolution leave no checkerboard.
    """

    def __init__(self, channels: int, skip: int, out: int) -> None:
        super().__init__()
        self.mix = ConvBlock(channels + skip, out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map [b channels h w] and [b skip 2h 2w] to [b out 2h 2w]."""
        return self.mix(torch.cat([interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))


class Modulation(nn.Module):
    """FiLM: a gain and a shift for every channel, from a vector (Perez et al., 2018); initialised to the identity."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, 2 * channels)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Map [b channels h w] and [b width] to [b channels h w]."""
        gain, shift = self.read(vector)[..., None, None].chunk(2, dim=1)
        out: Tensor = x * (1 + gain) + shift
        return out
