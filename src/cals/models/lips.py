"""What every lip-sync model offers: sound to units, units to crops."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Self, cast

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.features.mel import MelConfig


@dataclass(frozen=True, kw_only=True)
class LipConfig:
    """What every lip model's config says: the features it hears and the crop it draws."""

    mel: MelConfig = field(default_factory=MelConfig)
    crop_px: int = 128

    def __post_init__(self) -> None:
        if not 16 <= self.crop_px <= 1024:
            raise ConfigError(f"lips: expected crop_px from 16 to 1024, found {self.crop_px}; choose 128")
        if not 1 <= self.mel.bins <= self.mel.window // 2 + 1:
            raise ConfigError(
                f"lips: expected 1 to {self.mel.window // 2 + 1} mel bins, found {self.mel.bins}; choose 80"
            )


OWN_S = 0.2
"""What was seen nearer than this to a frame may show its own mouth, which must not help to draw it (section 5: a
reference is at least 5 frames away)."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Aligned faces of one person."""

    crops: Tensor = field(repr=False)
    """[b 3 h w] in 0..1"""
    landmarks: Tensor = field(repr=False)
    """[b 468 3] in crop pixels."""
    times_s: Tensor
    """[b]"""

    def away_from(self, times_s: Tensor) -> Tensor:
        """[n b], whether each of these is far enough from each of the times [n] to serve it."""
        return (times_s[:, None] - self.times_s).abs() >= OWN_S - 1e-3

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return replace(self, **{part.name: getattr(self, part.name).to(device) for part in fields(self)})


@dataclass(frozen=True, eq=False)
class Gallery(Faces):
    """What is known of a person before drawing: a few frames of theirs, from closed to open mouth."""

    seen: Tensor = field(repr=False)
    """Landmarks [n 468 3] in crop pixels of all frames looked at."""

    def reference_for(self, times_s: Tensor) -> Tensor:
        """Index [n] of the quietest frame that is none of the times' own, [n]."""
        return self.away_from(times_s).float().argmax(dim=1)


def prior(crops: Tensor) -> Tensor:
    """Pose priors [b 3 h w]: crops with their lower half masked."""
    masked = crops.clone()
    masked[..., crops.shape[-2] // 2 :, :] = 0
    return masked


class LipModel(nn.Module, ABC):
    """Audio-to-Lip and Lip-to-Face as one part, at the rates of `mel.timing`."""

    config: LipConfig

    @property
    def mel(self) -> MelConfig:
        return self.config.mel

    @property
    def crop_px(self) -> int:
        return self.config.crop_px

    @abstractmethod
    def units(self, mel: Tensor) -> Tensor:
        """Lip motion units, [b m f] log-mel in dB -> [b t d] with t = m / mels_per_frame."""

    @abstractmethod
    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """The faces [b 3 h w] in 0..1 making the mouths of units [b d]; their own mouths do not shine through."""


class WholeLips(LipModel):
    """Draws each crop whole, from its unit, a reference frame and the current frame's pose prior."""

    decoder: nn.Module

    def render(self, units: Tensor, faces: Faces, gallery: Gallery) -> Tensor:
        """The reference is the quietest frame of the gallery that is not the frame's own."""
        reference = gallery.crops[gallery.reference_for(faces.times_s)]
        return cast(Tensor, self.decoder(units, reference, prior(faces.crops)))

    def drawn(self, units: Tensor, reference: Tensor, real: Tensor) -> Tensor:
        """A training step's crops [b t 3 h w] from units [b t d], references and real crops, both [b t 3 h w].

        Of the real crops only the pose prior is seen.
        """
        found: Tensor = self.decoder(units.flatten(0, 1), reference.flatten(0, 1), prior(real.flatten(0, 1)))
        return found.view_as(real)
