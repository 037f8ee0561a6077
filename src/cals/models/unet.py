"""Lip-to-Face as published: an encoder-decoder with skip connections that generates every pixel."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from cals.errors import ConfigError
from cals.nn.blocks import ConvBlock, Modulation, ResidualBlock, UpBlock


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Inputs and crop as in paper section 1; levels follow related work, sizes and modulation are ours ([K], [D]).

    The default is the full width, 11 GFLOP a frame; `width=24, widest=384, levels=5, block_px=2` costs less than 2.
    """

    unit: int = 512
    """Width of a unit."""
    crop_px: int = 128
    width: int = 32
    """Channels of the first level. Every level below has twice as many, up to `widest`."""
    widest: int = 512
    levels: int = 6
    """Number of halvings of height and width from the first level down to the bottleneck."""
    block_px: int = 1
    """Side of the pixel blocks that become channels of the first level: 2 makes the network four times cheaper."""

    def __post_init__(self) -> None:
        positive = min(self.unit, self.crop_px, self.width, self.levels, self.block_px) >= 1
        if not positive or self.crop_px % (self.block_px * 2**self.levels):
            raise ConfigError(
                f"unet: expected positive sizes and crops of a multiple of block_px * 2 ** levels px, found {self}"
            )
        if self.widest < self.width:
            raise ConfigError(f"unet: expected widest >= width, found {self.widest} and {self.width}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of every level, from the first one down."""
        return tuple(min(self.width * 2**level, self.widest) for level in range(self.levels + 1))


class UNet(nn.Module):
    """An encoder of reference and pose prior, and a decoder with skip connections that is conditioned on the unit.

    The unit enters at the bottleneck and again, as a modulation, at every level of the decoder. Skip connections carry
    the mouth shape of the reference past the bottleneck, and each level has to correct it.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.stem = ConvBlock(6 * config.block_px**2, channels[0])
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(above, below, stride=2), ResidualBlock(below))
            for above, below in pairwise(channels)
        )
        self.join = nn.Sequential(ConvBlock(channels[-1] + config.unit, channels[-1], 1), ResidualBlock(channels[-1]))
        pairs = list(pairwise(channels[::-1]))
        self.up = nn.ModuleList(UpBlock(below, above, above) for below, above in pairs)
        self.modulate = nn.ModuleList(Modulation(config.unit, above) for _, above in pairs)
        self.refine = nn.ModuleList(ResidualBlock(above) for _, above in pairs)
        self.paint = nn.Conv2d(channels[0], 3 * config.block_px**2, 3, padding=1)

    def forward(self, units: Tensor, reference: Tensor, prior: Tensor) -> Tensor:
        """Generate crops [b 3 h w] in 0..1 from units [b d], reference and pose prior [b 3 h w] in 0..1."""
        block = self.config.block_px
        x = self.stem(pixel_unshuffle(torch.cat([reference, prior], dim=1) * 2 - 1, block))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        tiled = units[:, :, None, None].expand(-1, -1, *x.shape[2:])
        x = self.join(torch.cat([x, tiled], dim=1))
        for up, modulate, refine, skip in zip(self.up, self.modulate, self.refine, reversed(skips), strict=True):
            x = refine(modulate(up(x, skip), units))
        return torch.sigmoid(pixel_shuffle(self.paint(x), block))
