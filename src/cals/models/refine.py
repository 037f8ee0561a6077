"""What moved pixels do not show, added by a small network: shading of the lips, and mask and residual within them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from cals.nn.blocks import ConvBlock, ResidualBlock

TOP, BOTTOM, LEFT, RIGHT = 60, 124, 24, 104
"""The part of a crop of 128 that is refined, in pixels: mouth and chin of every face, however wide it opens."""
_FADE_PX = 6
_MOST_LIGHT = 0.7
"""Lips and skin become at most exp(0.7), twice, as light or dark."""


class Refinement(nn.Module):
    """A three-level encoder and decoder over mouth and chin, told the motion by scale and shift of its features."""

    window: Tensor

    def __init__(self, channels: int, width: int, motion: int) -> None:
        super().__init__()
        wide, widest = 2 * width, 3 * width
        self.enter = nn.Sequential(ConvBlock(4 * channels, width), ResidualBlock(width))
        self.down = nn.Sequential(ConvBlock(width, wide, stride=2), ResidualBlock(wide))
        self.deep = nn.Sequential(ConvBlock(wide, widest, stride=2), ResidualBlock(widest))
        self.told = nn.Sequential(nn.Linear(motion, widest), nn.SiLU(), nn.Linear(widest, 2 * widest))
        self.deeper = ResidualBlock(widest)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), ConvBlock(widest, wide))
        self.joined = ResidualBlock(wide)
        self.upper = nn.Sequential(nn.Upsample(scale_factor=2), ConvBlock(wide, width))
        self.last = nn.Sequential(ResidualBlock(width), nn.Conv2d(width, 4 * 5, 3, padding=1))
        with torch.no_grad():
            self.last[1].weight.mul_(0.1)  # type: ignore[operator]
            self.last[1].bias.zero_()  # type: ignore[operator]
        self.register_buffer("window", _window(), persistent=False)

    def forward(self, crops: Tensor, seen: Tensor, lips: Tensor, motion: Tensor) -> Tensor:
        """Crops [b 3 128 128] mended, given maps `seen` [b c 128 128], of which the first is the open mouth.

        Around the `lips` [b 1 128 128] pixels only get lighter or darker, so that no one's skin takes on the colour of
        those it was trained on; new colours are for the open mouth. `motion` [b motion] is what the mouth does.
        """
        region = (..., slice(TOP, BOTTOM), slice(LEFT, RIGHT))
        fine = self.enter(pixel_unshuffle(torch.cat([crops * 2 - 1, seen], dim=1)[region], 2))
        middle = self.down(fine)
        scale, shift = self.told(motion)[..., None, None].chunk(2, dim=1)
        coarse = self.deeper(self.deep(middle) * (1 + scale) + shift)
        drawn = self.upper(self.joined(self.up(coarse) + middle)) + fine
        changes = pixel_shuffle(self.last(drawn), 2)
        hole, near = seen[:, :1][region], lips[region] * self.window
        lightness = torch.exp(_MOST_LIGHT * torch.tanh(changes[:, 4:]) * near * (1 - hole))
        within = torch.sigmoid(changes[:, 3:4]) * torch.tanh(changes[:, :3]) * hole * self.window
        mended = crops.clone()
        mended[region] = crops[region] * lightness + within
        return mended


def _window() -> Tensor:
    """1 inside the region, falling to 0 at its edges, [1 1 h w]."""

    def side(length: int) -> Tensor:
        near = torch.arange(length).minimum(torch.arange(length).flip(0)) + 0.5
        return (near / _FADE_PX).clamp(max=1.0)

    return (side(BOTTOM - TOP)[:, None] * side(RIGHT - LEFT))[None, None]
