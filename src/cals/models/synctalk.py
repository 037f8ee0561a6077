"""SyncTalkFace, built from our own parts: Wav2Lip with an Audio-Lip Memory that recalls lip features by audio."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.models.lips import LipGenerator
from cals.models.memory import LipMemory, MemoryConfig
from cals.models.unet import UNet
from cals.models.wav2lip import Wav2LipConfig, WindowEncoder
from cals.nn.blocks import ConvBlock, ResidualBlock

LIP_FRAMES = 5
"""Length of the window of a lip feature, in frames (paper section 2, [A])."""


@dataclass(frozen=True, kw_only=True)
class RecallConfig:
    """The parts that SyncTalkFace adds to Wav2Lip (paper section 2, [A]); sizes of the lip encoder are ours ([D])."""

    memory: MemoryConfig = field(default_factory=MemoryConfig)
    width: int = 64
    """Channels of the lip encoder's first level."""
    dropout: float = 0.5
    """Dropout on the concatenated audio code and recalled lip feature."""

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(f"recall: expected a positive width and a dropout from 0 to below 1, found {self}")


class LipEncoder(nn.Module):
    """Crops to one lip feature per frame, from the lower halves of the 5 frames around it."""

    def __init__(self, crop_px: int, width: int, feature: int) -> None:
        super().__init__()
        # A 3-D convolution that spans all 5 frames in time is a 2-D one over their channels.
        layers: list[nn.Module] = [ConvBlock(3 * LIP_FRAMES, width, 5, stride=2)]
        for narrow, wide in pairwise([width * factor for factor in (1, 2, 4, 8, 8)]):
            layers += [ConvBlock(narrow, wide, stride=2), ResidualBlock(wide)]
        self.layers = nn.Sequential(*layers)
        # Slots are addressed by cosines. Most of a face's feature is the same in all frames, and unless that is
        # subtracted all frames address the same slots; and cosines ignore the norm, so that it would grow.
        self.head = nn.Sequential(
            nn.Linear(8 * width * (crop_px // 32) ** 2, feature), nn.BatchNorm1d(feature, affine=False)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Encode crops [b t 3 h w] in 0..1 -> [b t d], any t; edge frames are replicated."""
        lower = crops * 2 - 1
        lower[..., : lower.shape[-2] // 2, :] = 0
        side = LIP_FRAMES // 2
        edges = [part.expand(-1, side, -1, -1, -1) for part in (lower[:, :1], lower[:, -1:])]
        windows = torch.cat([edges[0], lower, edges[1]], dim=1).unfold(1, LIP_FRAMES, 1)  # [b t 3 h w frames]
        stacked = windows.permute(0, 1, 5, 2, 3, 4).flatten(2, 3).flatten(0, 1)
        features: Tensor = self.head(self.layers(stacked).flatten(1))
        return features.view(*crops.shape[:2], -1)


@dataclass(frozen=True, kw_only=True)
class SyncTalkFaceConfig(Wav2LipConfig):
    """Wav2Lip's config, and that of the memory."""

    recall: RecallConfig = field(default_factory=RecallConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recall.memory.width != self.window.unit:
            raise ConfigError(
                f"synctalkface: expected keys as wide as the audio code that addresses them, found "
                f"{self.recall.memory.width} against {self.window.unit}"
            )
        if self.crop_px % 32:
            raise ConfigError(f"synctalkface: expected crops of a multiple of 32 px, found {self.crop_px}")


class MemoryOutput(NamedTuple):
    """Outputs of a training step: two generations, and the features and addresses of the memory."""

    by_lips: Tensor
    """Crops [b t 3 h w] generated with features recalled by the real frames; in training only."""
    by_audio: Tensor
    """Crops [b t 3 h w] generated with features recalled by audio, as at inference."""
    lips: Tensor
    """Lip features [b t d] of the real frames."""
    recalled: Tensor
    """Features [b t d] that the real frames recall."""
    value_address: Tensor
    """Slot weights [b t s] of the real frames over the values."""
    key_address: Tensor
    """Slot weights [b t s] of the audio over the keys."""


class SyncTalkFace(LipGenerator):
    """The lip model: crops from an audio window, recalled lip features, a reference frame and the pose prior."""

    config: SyncTalkFaceConfig

    def __init__(self, config: SyncTalkFaceConfig) -> None:
        super().__init__()
        self.config = config
        self.window, self.decoder = WindowEncoder(config.window), UNet(config.decoder)
        recall = config.recall
        # Without a memory no lip features are stored.
        self.memory = LipMemory(recall.memory) if recall.memory.slots else None
        self.lips = LipEncoder(config.crop_px, recall.width, recall.memory.width) if recall.memory.slots else None
        self.drop = nn.Dropout(recall.dropout)
        self.join = nn.Linear(config.window.unit + recall.memory.width, config.decoder.unit)

    def predict_units(self, mel: Tensor) -> Tensor:
        """Compute units, [b m f] -> [b t d], from audio alone."""
        return self._units_by_audio(self.window(mel))

    def forward(
        self, mel: Tensor, frames: Tensor, reference: Tensor, real: Tensor, store: bool = False
    ) -> Tensor | MemoryOutput:
        """Generate crops as `Wav2Lip` does, from audio alone; with `store`, both generations of a training step.

        Raises ConfigError for `store` without a memory.
        """
        audio = self.window(mel, frames)
        if not store:
            return self.generate(self._units_by_audio(audio), reference, real)
        if self.memory is None or self.lips is None:
            raise ConfigError("synctalkface: expected a memory to store in, found one of 0 slots; train without store")
        lips = self.lips(real)
        value_address, key_address = self.memory.address_by_lips(lips), self.memory.address_by_audio(audio)
        recalled = self.memory.recall(value_address)
        units = torch.cat([self._join(audio, recalled), self._join(audio, self.memory.recall(key_address))])
        generated = self.generate(units, torch.cat([reference, reference]), torch.cat([real, real]))
        return MemoryOutput(generated[: len(real)], generated[len(real) :], lips, recalled, value_address, key_address)

    def _units_by_audio(self, audio: Tensor) -> Tensor:
        memory = self.memory
        if memory is None:
            return self._join(audio, audio.new_zeros(*audio.shape[:-1], self.config.recall.memory.width))
        return self._join(audio, memory.recall(memory.address_by_audio(audio)))

    def _join(self, audio: Tensor, recalled: Tensor) -> Tensor:
        return self.join(self.drop(torch.cat([audio, recalled], dim=-1)))
