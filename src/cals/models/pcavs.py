"""PC-AVS of our own parts: who it is, how the head is held and what is said are three codes of one style."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, normalize, pixel_unshuffle

from cals.errors import ConfigError
from cals.models.lips import Faces, Gallery, LipConfig, LipModel, prior
from cals.models.sync import SyncConfig, SyncModel
from cals.nn.blocks import ConvBlock, ResidualBlock
from cals.nn.modulated import StyledBlock, enlarge


@dataclass(frozen=True, kw_only=True)
class PCAVSConfig(LipConfig):
    """The codes are the published ones (Zhou et al., CVPR 2021): 12 numbers of pose, content shared by sound and
    picture; sizes beyond that, and `pose_mask`, are ours ([D]).
    """

    content: SyncConfig = field(default_factory=SyncConfig)
    """The encoders of speech content: a unit is the embedding of a frame's 0.2 s."""
    identity: int = 512
    pose: int = 12
    pose_mask: bool = True
    """The pose is read from the upper half of the crop: so none of the frame's own mouth can be in it. Published is the
    whole crop, with nothing but the narrow code to keep the mouth out."""
    style: int = 512
    encoder_width: int = 32
    """Channels of the picture encoders' first level; each of the next ones has twice as many, up to 8 times."""
    width: int = 32
    """Channels of the generator at full size; every level before has twice as many, up to `widest`."""
    widest: int = 512
    levels: int = 5
    """Doublings from the constant to the crop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.identity, self.pose, self.style, self.encoder_width, self.width, self.widest, self.levels)
        if min(sizes) < 1 or self.crop_px % 2 ** max(self.levels, PictureEncoder.LEVELS + 1):
            raise ConfigError(f"pcavs: expected positive sizes and crops of a multiple of 2 ** levels px, found {self}")
        if self.content.mel != self.mel:
            raise ConfigError("pcavs: expected content encoders of the model's own mel, found another; give both one")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the generator's levels, from the constant on."""
        return tuple(min(self.width * 2**level, self.widest) for level in range(self.levels, -1, -1))


class PictureEncoder(nn.Module):
    """A crop to one vector."""

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
        """[b 3 h w] in 0..1 -> [b out]."""
        return self.head(self.layers(pixel_unshuffle(crops * 2 - 1, 2)).flatten(1))


class StyleGenerator(nn.Module):
    """From a learnt constant to a crop, every convolution modulated by the style; each size adds to the picture."""

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
        """[b i], [b p], [b d] -> [b 3 h w] in 0..1."""
        style = torch.cat([identity, pose, content], dim=1)
        for layer in self.map:
            style = leaky_relu(layer(style), 0.2)
        x, picture = self.constant.expand(len(style), -1, -1, -1), None
        for block in self.blocks:
            x, share = block(x, style)
            picture = share if picture is None else enlarge(picture) + share
        assert picture is not None
        return torch.sigmoid(picture)


class PCAVS(LipModel):
    """A reference gives the identity, each face's own crop the pose, the sound the content; all pixels are drawn."""

    config: PCAVSConfig

    def __init__(self, config: PCAVSConfig) -> None:
        super().__init__()
        self.config = config
        self.content = SyncModel(config.content)
        self.identity = PictureEncoder(config.crop_px, config.encoder_width, config.identity)
        self.pose = PictureEncoder(config.crop_px, config.encoder_width, config.pose)
        self.generator = StyleGenerator(config)

    def units(self, mel: Tensor) -> Tensor:
        """[b m f] -> [b t d], each from its frame's own 0.2 s."""
        return self.content.audio.every_frame(mel)

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """The person of the gallery with each face's pose; faces of somebody else's lend theirs just as well."""
        identity = self.identity(gallery.crops)[gallery.reference_for(faces.times_s)]
        return self.draw(units, identity, faces.crops)

    def draw(self, units: Tensor, identity: Tensor, posed: Tensor) -> Tensor:
        """Crops [b 3 h w] from units [b d], identity codes [b i] and crops that show the pose [b 3 h w]."""
        pose = self.pose(prior(posed) if self.config.pose_mask else posed)
        # of length 1 a unit would be lost beside the other codes
        return self.generator(identity, pose, normalize(units, dim=1) * math.sqrt(units.shape[1]))

    def forward(
        self, sound: Tensor, windows: Tensor, seen: Tensor, reference: Tensor, posed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One training step's worth: crops drawn [n 3 h w], and the content heard and seen, [n d] each.

        From mel [n m f] and crops [n t 3 h w] of windows, reference and pose pictures [n 3 h w]. What is said is taken
        from the pictures where `seen` [n], else from the sound.
        """
        heard, read = self._contents(sound, windows)
        content = torch.where(seen[:, None], read, heard)
        return self.draw(content, self.identity(reference), posed), heard, read

    def _contents(self, sound: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        size, frames = self.config.content.crop_px, windows.shape[1]
        lower = windows[..., windows.shape[-2] // 2 :, :]
        if windows.shape[-1] != size:
            small = interpolate(lower.flatten(0, 1), size=(size // 2, size), mode="area")
            lower = small.view(-1, frames, *small.shape[1:])
        return self.content.audio(sound), self.content.visual(lower)
