"""SyncTalkFace of our own parts: Wav2Lip that also recalls, by the sound, what lips looked like when it was spoken."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.models.lips import WholeLips
from cals.models.memory import LipMemory, MemoryConfig
from cals.models.unet import UNet
from cals.models.wav2lip import Wav2LipConfig, WindowEncoder
from cals.nn.blocks import ConvBlock, ResidualBlock

LIP_FRAMES = 5
"""Frames that a lip feature looks at (paper section 2, [A])."""


@dataclass(frozen=True, kw_only=True)
class RecallConfig:
    """What SyncTalkFace has beyond Wav2Lip (paper section 2, [A]); the lip encoder's sizes are ours ([D])."""

    memory: MemoryConfig = field(default_factory=MemoryConfig)
    width: int = 64
    """Channels of the lip encoder's first level."""
    dropout: float = 0.5
    """Of audio code and recalled lip feature, before they are joined."""

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(f"recall: expected a positive width and a dropout from 0 to below 1, found {self}")


class LipEncoder(nn.Module):
    """Crops to a lip feature of every frame, from the lower halves of the 5 frames around it."""

    def __init__(self, crop_px: int, width: int, feature: int) -> None:
        super().__init__()
        # A 3-D convolution that spans all 5 frames in time is a 2-D one over their channels.
        layers: list[nn.Module] = [ConvBlock(3 * LIP_FRAMES, width, 5, stride=2)]
        for narrow, wide in pairwise([width * factor for factor in (1, 2, 4, 8, 8)]):
            layers += [ConvBlock(narrow, wide, stride=2), ResidualBlock(wide)]
        self.layers = nn.Sequential(*layers)
        # Cosines see no length, so nothing would hold it, and the values would run after features that only grow.
        self.head = nn.Sequential(
            nn.Linear(8 * width * (crop_px // 32) ** 2, feature), nn.LayerNorm(feature, elementwise_affine=False)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [b t 3 h w] in 0..1 -> [b t d], any t; at the ends the edge is replicated."""
        shown = crops * 2 - 1
        shown[..., : shown.shape[-2] // 2, :] = 0
        side = LIP_FRAMES // 2
        edges = [part.expand(-1, side, -1, -1, -1) for part in (shown[:, :1], shown[:, -1:])]
        windows = torch.cat([edges[0], shown, edges[1]], dim=1).unfold(1, LIP_FRAMES, 1)  # [b t 3 h w frames]
        stacked = windows.permute(0, 1, 5, 2, 3, 4).flatten(2, 3).flatten(0, 1)
        features: Tensor = self.head(self.layers(stacked).flatten(1))
        return features.view(*crops.shape[:2], -1)


@dataclass(frozen=True, kw_only=True)
class SyncTalkFaceConfig(Wav2LipConfig):
    """Wav2Lip's plan, and what is recalled beside it."""

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


class Stored(NamedTuple):
    """A training step's worth: two generations and what the memory did for them."""

    by_lips: Tensor
    """Crops [b t 3 h w] drawn with what the real frames recall, as only training can have it."""
    by_audio: Tensor
    """Crops [b t 3 h w] drawn with what the sound recalls, as at inference."""
    lips: Tensor
    """Features [b t d] of the real frames."""
    recalled: Tensor
    """What these recall [b t d]."""
    value_address: Tensor
    """How they address the values [b t s]."""
    key_address: Tensor
    """How the sound addresses the keys [b t s]."""


class SyncTalkFace(WholeLips):
    """A window of sound, the lips it recalls, a reference frame and the current frame's pose prior make the crop."""

    config: SyncTalkFaceConfig

    def __init__(self, config: SyncTalkFaceConfig) -> None:
        super().__init__()
        self.config = config
        self.window, self.decoder = WindowEncoder(config.window), UNet(config.decoder)
        recall = config.recall
        # Without a memory there is nothing to store either.
        self.memory = LipMemory(recall.memory) if recall.memory.slots else None
        self.lips = LipEncoder(config.crop_px, recall.width, recall.memory.width) if recall.memory.slots else None
        self.drop = nn.Dropout(recall.dropout)
        self.join = nn.Linear(config.window.unit + recall.memory.width, config.decoder.unit)

    def units(self, mel: Tensor) -> Tensor:
        """[b m f] -> [b t d], from sound alone."""
        return self._units_by_audio(self.window(mel))

    def forward(
        self, mel: Tensor, frames: Tensor, reference: Tensor, real: Tensor, store: bool = False
    ) -> Tensor | Stored:
        """Crops as `Wav2Lip` draws them, from sound alone; with `store`, both generations of a training step.

        Raises ConfigError where there is to be stored without a memory.
        """
        audio = self.window(mel, frames)
        if not store:
            return self.drawn(self._units_by_audio(audio), reference, real)
        if self.memory is None or self.lips is None:
            raise ConfigError("synctalkface: expected a memory to store in, found one of 0 slots; train without store")
        lips = self.lips(real)
        by_lips, by_audio = self.memory.address_by_lips(lips), self.memory.address_by_audio(audio)
        recalled = self.memory.recall(by_lips)
        units = torch.cat([self._join(audio, recalled), self._join(audio, self.memory.recall(by_audio))])
        drawn = self.drawn(units, torch.cat([reference, reference]), torch.cat([real, real]))
        return Stored(drawn[: len(real)], drawn[len(real) :], lips, recalled, by_lips, by_audio)

    def _units_by_audio(self, audio: Tensor) -> Tensor:
        memory = self.memory
        if memory is None:
            return self._join(audio, audio.new_zeros(*audio.shape[:-1], self.config.recall.memory.width))
        return self._join(audio, memory.recall(memory.address_by_audio(audio)))

    def _join(self, audio: Tensor, recalled: Tensor) -> Tensor:
        return self.join(self.drop(torch.cat([audio, recalled], dim=-1)))
