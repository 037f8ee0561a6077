"""PC-AVS, built from our own parts: identity, head pose and speech content are three codes of one style."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, normalize, pixel_unshuffle

from cals.errors import ConfigError
from cals.models.lips import Faces, Gallery, LipConfig, LipModel, build_pose_prior
from cals.models.sync import SyncConfig, SyncModel
from cals.nn.blocks import ConvBlock, ResidualBlock
from cals.nn.modulated import StyledBlock, upsample

_GREY = 0.5
"""Brightness of an image from zero weights."""


@dataclass(frozen=True, kw_only=True)
class PCAVSConfig(LipConfig):
    """The codes are as published (Zhou et al., CVPR 2021): 12 numbers of pose, and content shared by audio and video.

    All other sizes, and `pose_mask`, are ours ([D]).
    """

    content: SyncConfig = field(default_factory=SyncConfig)
    """Encoders of speech content: a unit is the embedding of a frame's 0.2 s of audio."""
    identity: int = 512
    pose: int = 12
    pose_mask: bool = True
    """Encode the pose from the upper half of the crop, which holds nothing of the frame's own mouth.

    The published pose encoder takes the whole crop, and only its narrow code keeps the mouth out.
    """
    style: int = 512
    encoder_width: int = 32
    """Channels of the image encoders' first level. Each of the next levels has twice as many, up to 8 times."""
    width: int = 32
    """Channels of the generator at full size. Every level before has twice as many, up to `widest`."""
    widest: int = 512
    levels: int = 5
    """Number of doublings of height and width from the constant to the crop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.identity, self.pose, self.style, self.encoder_width, self.width, self.widest, self.levels)
        if min(sizes) < 1 or self.crop_px % 2 ** max(self.levels, ImageEncoder.LEVELS + 1):
            raise ConfigError(f"pcavs: expected positive sizes and crops of a multiple of 2 ** levels px, found {self}")
        if self.content.mel != self.mel:
            raise ConfigError("pcavs: expected content encoders of the model's own mel, found another; give both one")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the generator's levels, starting at the constant."""
        return tuple(min(self.width * 2**level, self.widest) for level in range(self.levels, -1, -1))


class ImageEncoder(nn.Module):
    """An image encoder: a crop to one vector."""

    LEVELS = 4

    def __init__(self, crop_px: int, width: int, out: int) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(self.LEVELS + 1)]
        layers: list[nn.Module] = [ConvBlock(3 * 4, widths[0])]
        for above, below in pairwise(widths):
            layers += [ConvBlock(above, below, stride=2), ResidualBlock(below)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * (crop_px // 2 ** (self.LEVELS + 1)) ** 2, out)

    def forward(self, crops: Tensor) -> Tensor:
        """Encode crops [b 3 h w] in 0..1 -> [b out]."""
        return self.head(self.layers(pixel_unshuffle(crops * 2 - 1, 2)).flatten(1))


class StyleGenerator(nn.Module):
    """A generator from a learned constant to a crop: the style modulates all convolutions, each level adds an image."""

    def __init__(self, config: PCAVSConfig) -> None:
        super().__init__()
        codes = config.identity + config.pose + config.content.embedding
        self.map = nn.ModuleList([nn.Linear(codes, config.style), nn.Linear(config.style, config.style)])
        side = config.crop_px // 2**config.levels
        self.constant = nn.Parameter(torch.randn(config.channels[0], side, side))
        self.blocks = nn.ModuleList(
            StyledBlock(below, above, config.style) for below, above in pairwise(config.channels)
        )

    def forward(self, identity: Tensor, pose: Tensor, content: Tensor) -> Tensor:
        """Generate crops [b 3 h w] in 0..1 from identity [b i], pose [b p] and content [b d].

        In training they may leave that range: a sigmoid, once saturated, would let no gradient through.
        """
        style = torch.cat([_normalize_size(identity), pose, content], dim=1)
        for layer in self.map:
            style = leaky_relu(layer(style), 0.2)
        x, image = self.constant.expand(len(style), -1, -1, -1), None
        for block in self.blocks:
            x, residual = block(x, style)
            image = residual if image is None else upsample(image) + residual
        assert image is not None
        image = image + _GREY
        return image if self.training else image.clamp(0, 1)


class PCAVS(LipModel):
    """The lip model: crops from a reference's identity, the pose of each face's own crop and the audio's content."""

    config: PCAVSConfig
    head_policy = "given"

    def __init__(self, config: PCAVSConfig) -> None:
        super().__init__()
        self.config = config
        self.content = SyncModel(config.content)
        self.identity = ImageEncoder(config.crop_px, config.encoder_width, config.identity)
        self.pose = ImageEncoder(config.crop_px, config.encoder_width, config.pose)
        self.generator = StyleGenerator(config)

    def predict_units(self, mel: Tensor) -> Tensor:
        """Compute units, [b m f] -> [b t d], each from its frame's own 0.2 s."""
        return self.content.audio.encode_frames(mel)

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """Render the person of the gallery with each face's pose; the faces may be those of another person."""
        identity = self.identity(gallery.crops)[gallery.find_reference(faces.times_s)]
        return self.generate(units, identity, faces.crops)

    def generate(self, units: Tensor, identity: Tensor, posed: Tensor) -> Tensor:
        """Generate crops [b 3 h w] from units [b d], identity codes [b i] and crops that show the pose [b 3 h w]."""
        pose = self.pose(build_pose_prior(posed) if self.config.pose_mask else posed)
        return self.generator(identity, pose, _normalize_size(units))

    def forward(
        self, sound: Tensor, windows: Tensor, seen: Tensor, reference: Tensor, posed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute a training step: generated crops [n 3 h w], and audio and visual content embeddings, [n d] each.

        The inputs are mel [n m f] and crops [n t 3 h w] of windows, and reference and pose images [n 3 h w]. The crops'
        content is visual where `seen` [n] is True, else audio.
        """
        audio, visual = self._encode_contents(sound, windows)
        content = torch.where(seen[:, None], visual, audio)
        return self.generate(content, self.identity(reference), posed), audio, visual

    def _encode_contents(self, sound: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        size, frames = self.config.content.crop_px, windows.shape[1]
        lower = windows[..., windows.shape[-2] // 2 :, :]
        if windows.shape[-1] != size:
            small = interpolate(lower.flatten(0, 1), size=(size // 2, size), mode="area")
            lower = small.view(-1, frames, *small.shape[1:])
        return self.content.audio(sound), self.content.visual(lower)


def _normalize_size(codes: Tensor) -> Tensor:
    """Scale codes [b d] to a mean square of 1: nothing else bounds the styles, and images grow with them."""
    return normalize(codes, dim=1) * math.sqrt(codes.shape[1])
