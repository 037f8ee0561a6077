"""Convolution blocks."""

from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, PReLU; [b c h w] -> [b out h/stride w/stride]."""

    def __init__(self, channels: int, out: int, kernel: int = 3, stride: int | tuple[int, int] = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out), nn.PReLU(out)
        )


class ResidualBlock(nn.Module):
    """Two convolutions around a skip; the size stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.activation = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[b c h w] -> [b c h w]."""
        out: Tensor = self.activation(x + self.second(self.first(x)))
        return out
