"""What every lip-sync model offers: sound to units, units to crops."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

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
    def render(self, units: Tensor, reference: Tensor, prior: Tensor) -> Tensor:
        """Faces that make these mouths: units [b d], reference and pose prior [b 3 h w] in 0..1 -> [b 3 h w]."""
