"""Residual networks of 18 layers over images or over time (He et al., 2016)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

_CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


class BasicBlock(nn.Module):
    """Two convolutions of kernel 3 with a skip, in one or two dimensions; [b c ...] -> [b out .../stride]."""

    def __init__(self, dimensions: int, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        conv, norm = _CONV[dimensions], _NORM[dimensions]
        self.first = nn.Sequential(conv(channels, out, 3, stride, 1, bias=False), norm(out), nn.PReLU(out))
        self.second = nn.Sequential(conv(out, out, 3, 1, 1, bias=False), norm(out))
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.skip = nn.Sequential(conv(channels, out, 1, stride, bias=False), norm(out))
        self.activation = nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [b c ...] to [b out .../stride]."""
        out: Tensor = self.activation(self.skip(x) + self.second(self.first(x)))
        return out


class ResNet18(nn.Sequential):
    """Four stages of two blocks; the first has `width` channels, each next doubles them and halves the size.

    The stem is up to the caller: [b width ...] -> [b 8 width .../8].
    """

    def __init__(self, dimensions: int, width: int) -> None:
        blocks: list[nn.Module] = []
        for stage in range(4):
            out = width << stage
            blocks.append(BasicBlock(dimensions, max(width, out // 2), out, 1 if stage == 0 else 2))
            blocks.append(BasicBlock(dimensions, out, out))
        super().__init__(*blocks)


class TemporalScores(nn.Module):
    """Convolutions over time that score every step and channel between 0 and 1: [b t c] -> [b t out]."""

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        widths = (channels, 2 * out, 2 * out)
        self.hidden = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, next_width, kernel, padding=kernel // 2), nn.BatchNorm1d(next_width), nn.ReLU()
            )
            for width, next_width in pairwise(widths)
        )
        self.last = nn.Conv1d(widths[-1], out, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map [b t channels] to scores [b t out] in 0..1; steps where `valid` [b t] is False are not read."""
        mask = valid[:, None]
        x = x.transpose(1, 2) * mask
        for layer in self.hidden:
            x = layer(x) * mask
        return torch.sigmoid(self.last(x)).transpose(1, 2)
