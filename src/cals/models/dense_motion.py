"""Dense motion from sparse keypoints, and a generator that warps an image by it and inpaints occluded regions."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle

from cals.errors import ConfigError
from cals.nn.blocks import ConvBlock, Modulation, ResidualBlock, UpBlock
from cals.nn.warp import build_pixel_centres, sample_grid

CELL_PX = 4
"""Side of the cells that dense motion is estimated for, as published (first-order motion, Siarohin et al., 2019)."""
_HEATMAP_STD = 0.08
"""Standard deviation of a keypoint's Gaussian heatmap, as a share of the crop's side."""
_INITIAL_TRUST = 2.0
"""Initial logit of the occlusion map: at first nearly everything is warped."""
_INITIAL_BIAS = 5.0
"""Initial logit, against the static background, of a cell on a keypoint for moving with it; far off the same against
moving."""


@dataclass(frozen=True, kw_only=True)
class DenseMotionConfig:
    """Sizes are ours ([D])."""

    crop_px: int = 128
    keypoints: int = 10
    unit: int = 512
    """Width of a unit."""
    width: int = 32
    """Channels of the first level of both networks."""
    blocks: int = 4
    """Number of residual blocks between the warped features and the image."""

    def __post_init__(self) -> None:
        sizes = (self.crop_px, self.keypoints, self.unit, self.width, self.blocks)
        if min(sizes) < 1 or self.crop_px % (4 * CELL_PX):
            raise ConfigError(
                f"dense motion: expected positive sizes and crops of a multiple of {4 * CELL_PX} px, found {self}"
            )


class DenseMotion(nn.Module):
    """A network for the motion of every cell, as a mixture of keypoint motions and static background, and occlusion."""

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
        self.trust = nn.Parameter(torch.tensor(_INITIAL_TRUST))

    def forward(self, reference: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Predict dense motion from reference crops [b 3 h w] and their keypoints [b k 2] before and after, in pixels.

        Returns the source of each cell, [b h/4 w/4 2] in pixels of the crop, and its confidence, [b 1 h/4 w/4] in 0..1.
        Keypoints that do not move leave every cell where it is.
        """
        small = interpolate(reference, scale_factor=1 / CELL_PX, mode="area")
        grid = build_pixel_centres(small.shape[-2], small.shape[-1], reference.device) * CELL_PX
        shifts = torch.cat([torch.zeros_like(before[:, :1]), before - after], dim=1)  # static background first
        heatmaps = self._compute_heatmaps(grid, after)
        candidates = grid + shifts[:, :, None, None]  # [b k+1 h w 2]
        images = small.repeat_interleave(shifts.shape[1], dim=0)
        warped = sample_grid(images, candidates.flatten(0, 1) / CELL_PX).view(len(small), -1, *small.shape[-2:])
        logits = self._predict_logits(torch.cat([heatmaps - self._compute_heatmaps(grid, before), warped], dim=1))
        mixture, trust = logits[:, :-1], logits[:, -1:]
        bias = torch.cat([torch.zeros_like(heatmaps[:, :1]), _INITIAL_BIAS * (2 * heatmaps - 1)], dim=1)
        weights = (mixture + bias).softmax(dim=1)
        places = grid + torch.einsum("bkhw,bkc->bhwc", weights.float(), shifts.float())
        return places, (trust + self.trust).sigmoid()

    def _predict_logits(self, x: Tensor) -> Tensor:
        skips = [x := self.stem(x)]
        for down in self.down:
            skips.append(x := down(x))
        for up, skip in zip(self.up, skips[-2::-1], strict=True):
            x = up(x, skip)
        return self.head(x)

    def _compute_heatmaps(self, grid: Tensor, keypoints: Tensor) -> Tensor:
        """Compute Gaussian heatmaps [b k h w], 1 at each keypoint."""
        distance = (grid - keypoints[:, :, None, None]).square().sum(dim=-1)
        return torch.exp(-distance / (2 * (_HEATMAP_STD * self.config.crop_px) ** 2))


class WarpingGenerator(nn.Module):
    """A generator that warps the reference and its features, and inpaints regions of low confidence from the units."""

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
        """Generate crops [b 3 h w] in 0..1 from reference crops, the outputs of `DenseMotion` and units [b d]."""
        skip = self.stem(pixel_unshuffle(reference * 2 - 1, 2))
        x = warp_features(self.down(skip), places) * trust
        for modulate, block in zip(self.modulate, self.blocks, strict=True):
            x = block(modulate(x, units))
        warped_skip = warp_features(skip, places) * interpolate(trust, scale_factor=2.0, mode="bilinear")
        drawn = torch.sigmoid(pixel_shuffle(self.paint(self.up(x, warped_skip)), 2))
        return blend(warp_features(reference, places), drawn, trust)


def warp_features(features: Tensor, places: Tensor) -> Tensor:
    """Warp features [b c y x] of a crop, of any size, by the sampling grid `places` [b h w 2] in crop pixels.

    Cells are larger than pixels: displacements are interpolated linearly between them.
    """
    height, width = features.shape[-2:]
    cells = torch.tensor([places.shape[2], places.shape[1]], device=places.device)
    grid = build_pixel_centres(places.shape[1], places.shape[2], places.device) * CELL_PX
    shifts = ((places - grid) / (cells * CELL_PX)).permute(0, 3, 1, 2)  # as shares of the side
    shifts = interpolate(shifts, size=(height, width), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    size = torch.tensor([width, height], device=places.device)
    return sample_grid(features.float(), build_pixel_centres(height, width, places.device) + shifts * size)


def blend(warped: Tensor, drawn: Tensor, trust: Tensor) -> Tensor:
    """Blend warped and drawn pixels [b 3 h w] by `trust` [b 1 y x], enlarged: warped where it is 1, drawn where 0."""
    weight = interpolate(trust, size=warped.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(drawn.float(), warped, weight.float())
