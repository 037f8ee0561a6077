"""A tiny network with the interface of a real one: the whole pipeline can be tested without trained weights."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.models.lips import Faces, Gallery, LipConfig, LipModel, build_pose_prior


@dataclass(frozen=True, kw_only=True)
class DebugConfig(LipConfig):
    """Random weights from `seed`: the output means nothing, but depends on audio, reference and pose prior."""

    width: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_px % 4:
            raise ConfigError(f"debug: expected crop_px to be a multiple of 4, found {self.crop_px}; choose 128")
        if not 1 <= self.width <= 1024:
            raise ConfigError(f"debug: expected a width from 1 to 1024, found {self.width}; choose 16")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"debug: expected a seed from 0 to 2**63 - 1, found {self.seed}; choose 0")


class DebugLips(LipModel):
    """Units from one strided convolution over the mel; crops from a two-level encoder and decoder."""

    def __init__(self, config: DebugConfig) -> None:
        super().__init__()
        self.config = config
        step, width = config.mel.timing.mels_per_frame, config.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.listen = nn.Conv1d(config.mel.bins, width, kernel_size=step, stride=step)
            self.look = nn.Sequential(nn.Conv2d(6, width, 4, 4), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
            self.paint = nn.Sequential(nn.SiLU(), nn.ConvTranspose2d(width, 3, 4, 4))

    def predict_units(self, mel: Tensor) -> Tensor:
        """Compute units, [b m f] -> [b t width], each from the mel frames of its own video frame."""
        loudness = mel / -self.mel.floor_db + 1.0
        return torch.tanh(self.listen(loudness.transpose(1, 2))).transpose(1, 2)

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """Render the gallery's first frame, changed by unit and pose prior."""
        reference = gallery.crops[:1].expand_as(faces.crops)
        features = self.look(torch.cat([reference, build_pose_prior(faces.crops)], dim=1))
        residual = self.paint(features + 2.0 * units[:, :, None, None])
        # The gain makes the effect of random weights visible over the reference.
        return torch.sigmoid(8.0 * residual + torch.logit(reference, eps=0.02))
