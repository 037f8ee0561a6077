"""The interface of every lip-sync model: audio to units, units to crops."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Self, cast

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.models.network import MIN_REFERENCE_GAP_S, HeadPolicy
from cals.types import F32


@dataclass(frozen=True, kw_only=True)
class LipConfig:
    """The part that configs of all lip models share: the audio features and the crop."""

    mel: MelConfig = field(default_factory=MelConfig)
    crop_px: int = 128

    def __post_init__(self) -> None:
        if not 16 <= self.crop_px <= 1024:
            raise ConfigError(f"lips: expected crop_px from 16 to 1024, found {self.crop_px}; choose 128")
        if not 1 <= self.mel.bins <= self.mel.window // 2 + 1:
            raise ConfigError(
                f"lips: expected 1 to {self.mel.window // 2 + 1} mel bins, found {self.mel.bins}; choose 80"
            )


@dataclass(frozen=True, eq=False)
class Faces:
    """Aligned faces of one person."""

    crops: Tensor = field(repr=False)
    """[b 3 h w] in 0..1"""
    landmarks: Tensor = field(repr=False)
    """[b 468 3] in crop pixels."""
    times_s: Tensor
    """[b]"""

    def is_far_from(self, times_s: Tensor) -> Tensor:
        """Compute a mask [n b]: whether each face is far enough from each of the times [n] to be its reference."""
        return (times_s[:, None] - self.times_s).abs() >= MIN_REFERENCE_GAP_S - 1e-3

    def to(self, device: torch.device) -> Self:
        """Copy all tensors to another device."""
        return replace(self, **{part.name: getattr(self, part.name).to(device) for part in fields(self)})


@dataclass(frozen=True, eq=False)
class Gallery(Faces):
    """Reference frames of a person, ordered from closed to open mouth."""

    observed_landmarks: Tensor = field(repr=False)
    """Landmarks [n 468 3] in crop pixels of all frames that were observed."""

    def find_reference(self, times_s: Tensor) -> Tensor:
        """Find the index [n] of the frame with the smallest mouth opening that is far enough from each time [n]."""
        return self.is_far_from(times_s).float().argmax(dim=1)


def build_pose_prior(crops: Tensor) -> Tensor:
    """Build pose priors [b 3 h w]: crops with their lower half masked."""
    masked = crops.clone()
    masked[..., crops.shape[-2] // 2 :, :] = 0
    return masked


class LipModel(nn.Module, ABC):
    """Audio-to-Lip and Lip-to-Face as one module, at the rates of `mel.timing`."""

    config: LipConfig
    head_policy: HeadPolicy = "kept"

    @property
    def mel(self) -> MelConfig:
        return self.config.mel

    @property
    def crop_px(self) -> int:
        return self.config.crop_px

    def convert(self, values: F32) -> Tensor:
        """Convert to a tensor on the CPU, which shares the memory."""
        return torch.from_numpy(values)

    @torch.inference_mode()
    def compute_units(self, mel: Tensor) -> Tensor:
        """Compute units [t d] of log-mel [m f] on the model's device, and return them on the CPU."""
        return self.predict_units(mel[None].to(next(self.parameters()).device))[0].float().cpu()

    @abstractmethod
    def predict_units(self, mel: Tensor) -> Tensor:
        """Compute lip motion units, [b m f] log-mel in dB -> [b t d] with t = m / mels_per_frame."""

    @abstractmethod
    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """Render faces [b 3 h w] in 0..1 with the mouths of units [b d]; their own mouths must have no influence."""


class LipGenerator(LipModel):
    """A lip model that generates whole crops from unit, reference frame and the current frame's pose prior."""

    decoder: nn.Module

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """Render crops; the reference is the gallery frame with the smallest mouth opening that is far enough."""
        reference = gallery.crops[gallery.find_reference(faces.times_s)]
        return cast(Tensor, self.decoder(units, reference, build_pose_prior(faces.crops)))

    def generate(self, units: Tensor, reference: Tensor, real: Tensor) -> Tensor:
        """Generate crops [b t 3 h w] in training from units [b t d], references and real crops, both [b t 3 h w].

        Of the real crops only the pose prior is used.
        """
        crops: Tensor = self.decoder(units.flatten(0, 1), reference.flatten(0, 1), build_pose_prior(real.flatten(0, 1)))
        return crops.view_as(real)
