"""From a few keypoints' motion to every pixel's, and a picture that is warped by it and drawn where nothing fits."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle

from cals.errors import ConfigError
from cals.nn.blocks import ConvBlock, Modulation, ResidualBlock, UpBlock
from cals.nn.warp import pixel_centres, sample_places

CELL_PX = 4
"""The motion is found for cells of so many pixels, as published for first-order motion (Siarohin et al., 2019)."""
_REACH = 0.08
"""Deviation of a keypoint's bump, in shares of the crop's side."""
_TRUST = 2.0
"""At first nearly everything is warped; also a logit."""
_PULL = 5.0
"""What a cell on a keypoint starts to think of moving with it, as a logit against standing still; far off the same
against moving."""


@dataclass(frozen=True, kw_only=True)
class DenseMotionConfig:
    """Sizes are ours ([D])."""

    crop_px: int = 128
    keypoints: int = 10
    unit: int = 512
    """Width of what is said."""
    width: int = 32
    """Channels of the first level of either network."""
    blocks: int = 4
    """Residual blocks between the warped features and the picture."""

    def __post_init__(self) -> None:
        sizes = (self.crop_px, self.keypoints, self.unit, self.width, self.blocks)
        if min(sizes) < 1 or self.crop_px % (4 * CELL_PX):
            raise ConfigError(
                f"dense motion: expected positive sizes and crops of a multiple of {4 * CELL_PX} px, found {self}"
            )


class DenseMotion(nn.Module):
    """Every cell stands still or moves with some of the keypoints; where nothing it may come from fits, it says so."""

    def __init__(self, config: DenseMotionConfig) -> None:
        super().__init__()
        self.config = config
        width, count = config.width, config.keypoints
        self.stem = ConvBlock(count + 3 * (count + 1), width)
        self.down = nn.ModuleList([ConvBlock(width, 2 * width, stride=2), ConvBlock(2 * width, 4 * width, stride=2)])
        self.up = nn.ModuleList([UpBlock(4 * width, 2 * width, 2 * width), UpBlock(2 * width, width, width)])
        self.head = nn.Conv2d(width, count + 2, 3, padding=1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
        self.trust = nn.Parameter(torch.tensor(_TRUST))

    def forward(self, reference: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Reference crops [b 3 h w] and keypoints [b k 2] in pixels, there and in the picture wanted.

        Returns where each cell comes from, [b h/4 w/4 2] in pixels of the crop, and how far that is to be trusted,
        [b 1 h/4 w/4] in 0..1. Keypoints that do not move leave every cell where it is.
        """
        small = interpolate(reference, scale_factor=1 / CELL_PX, mode="area")
        here = pixel_centres(small.shape[-2], small.shape[-1], reference.device) * CELL_PX
        shifts = torch.cat([torch.zeros_like(before[:, :1]), before - after], dim=1)  # standing still comes first
        bumps = self._bumps(here, after)
        tried = here + shifts[:, :, None, None]  # [b k+1 h w 2]
        pictures = small.repeat_interleave(shifts.shape[1], dim=0)
        warped = sample_places(pictures, tried.flatten(0, 1) / CELL_PX).view(len(small), -1, *small.shape[-2:])
        logits = self._look(torch.cat([bumps - self._bumps(here, before), warped], dim=1))
        choice, trust = logits[:, :-1], logits[:, -1:]
        pull = torch.cat([torch.zeros_like(bumps[:, :1]), _PULL * (2 * bumps - 1)], dim=1)
        shares = (choice + pull).softmax(dim=1)
        places = here + torch.einsum("bkhw,bkc->bhwc", shares.float(), shifts.float())
        return places, (trust + self.trust).sigmoid()

    def _look(self, x: Tensor) -> Tensor:
        skips = [x := self.stem(x)]
        for down in self.down:
            skips.append(x := down(x))
        for up, skip in zip(self.up, skips[-2::-1], strict=True):
            x = up(x, skip)
        return self.head(x)

    def _bumps(self, here: Tensor, keypoints: Tensor) -> Tensor:
        """[b k h w], 1 at each keypoint."""
        away = (here - keypoints[:, :, None, None]).square().sum(dim=-1)
        return torch.exp(-away / (2 * (_REACH * self.config.crop_px) ** 2))


class WarpingGenerator(nn.Module):
    """Warps the reference and its features; what is not to be trusted is drawn, knowing what is said."""

    def __init__(self, config: DenseMotionConfig) -> None:
        super().__init__()
        width = config.width
        self.stem = ConvBlock(3 * 4, width)
        self.down = nn.Sequential(ConvBlock(width, 2 * width, stride=2), ResidualBlock(2 * width))
        self.modulate = nn.ModuleList(Modulation(config.unit, 2 * width) for _ in range(config.blocks))
        self.blocks = nn.ModuleList(ResidualBlock(2 * width) for _ in range(config.blocks))
        self.up = UpBlock(2 * width, width, width)
        self.paint = nn.Conv2d(width, 3 * 4, 3, padding=1)

    def forward(self, reference: Tensor, places: Tensor, trust: Tensor, units: Tensor) -> Tensor:
        """Crops [b 3 h w], motion as `DenseMotion` gives it, units [b d] -> crops [b 3 h w] in 0..1."""
        near = self.stem(pixel_unshuffle(reference * 2 - 1, 2))
        far = warp_features(self.down(near), places) * trust
        for modulate, block in zip(self.modulate, self.blocks, strict=True):
            far = block(modulate(far, units))
        kept = warp_features(near, places) * interpolate(trust, scale_factor=2.0, mode="bilinear")
        drawn = torch.sigmoid(pixel_shuffle(self.paint(self.up(far, kept)), 2))
        return blend(warp_features(reference, places), drawn, trust)


def warp_features(features: Tensor, places: Tensor) -> Tensor:
    """Features [b c y x] of a crop of any size, each from where `places` [b h w 2] in crop pixels says.

    Cells are larger than pixels: in between, what they differ from standing still by is linear.
    """
    height, width = features.shape[-2:]
    cells = torch.tensor([places.shape[2], places.shape[1]], device=places.device)
    here = pixel_centres(places.shape[1], places.shape[2], places.device) * CELL_PX
    shifts = ((places - here) / (cells * CELL_PX)).permute(0, 3, 1, 2)  # in shares of the side
    shifts = interpolate(shifts, size=(height, width), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    size = torch.tensor([width, height], device=places.device)
    return sample_places(features.float(), pixel_centres(height, width, places.device) + shifts * size)


def blend(warped: Tensor, drawn: Tensor, trust: Tensor) -> Tensor:
    """Warped pixels [b 3 h w] where `trust` [b 1 y x], enlarged, is 1, drawn ones where it is 0."""
    share = interpolate(trust, size=warped.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(drawn.float(), warped, share.float())
