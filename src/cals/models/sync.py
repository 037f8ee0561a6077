"""The sync encoders: a visual and an audio encoder whose embeddings of matching windows agree."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pixel_unshuffle

from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.nn.blocks import ConvBlock, ResidualBlock


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """Windows of 5 frames and 0.2 s of mel, 512-d embeddings: sizes of related work (paper section 1, [A, K])."""

    mel: MelConfig = field(default_factory=MelConfig)
    crop_px: int = 128
    frames: int = 5
    embedding: int = 512
    width: int = 32
    """Channels of the first level. Each of the next four levels has twice as many, up to 8 times."""

    def __post_init__(self) -> None:
        if self.crop_px % 64 or self.frames % 2 == 0:
            raise ConfigError(
                f"sync: expected crops of a multiple of 64 px and an odd number of frames, found {self.crop_px} px, "
                f"{self.frames} frames"
            )

    @property
    def mel_frames(self) -> int:
        """Mel frames of one window."""
        return self.frames * self.mel.timing.mels_per_frame


class VisualEncoder(nn.Module):
    """The visual encoder: lower halves of a window's crops to one embedding."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * factor for factor in (1, 2, 4, 8)]
        # The four pixels of a 2 x 2 block become channels: nothing is lost, and the first level costs a quarter.
        layers: list[nn.Module] = [ConvBlock(3 * config.frames * 4, widths[0]), ResidualBlock(widths[0])]
        for narrow, wide in zip(widths, [*widths[1:], widths[-1]], strict=True):
            layers += [ConvBlock(narrow, wide, stride=2), ResidualBlock(wide)]
        self.layers = nn.Sequential(*layers)
        cells = (config.crop_px // 64) * (config.crop_px // 32)
        self.head = nn.Linear(widths[-1] * cells, config.embedding)

    def forward(self, windows: Tensor) -> Tensor:
        """Encode lower halves [b t 3 h w] in 0..1 (h = crop / 2, w = crop, t = frames) -> [b d], L2-normalised."""
        x = pixel_unshuffle(windows.flatten(1, 2) * 2 - 1, 2)
        return normalize(self.head(self.layers(x).flatten(1)), dim=-1)

    def encode_frames(self, crops: Tensor) -> Tensor:
        """Compute embeddings z_t of all frames, lower halves [b t 3 h w] -> [b t d]; edge frames are replicated."""
        side = self.config.frames // 2
        padded = torch.cat(
            [crops[:, :1].expand(-1, side, -1, -1, -1), crops, crops[:, -1:].expand(-1, side, -1, -1, -1)], 1
        )
        windows = padded.unfold(1, self.config.frames, 1).permute(0, 1, 5, 2, 3, 4)  # [b t frames 3 h w]
        return self(windows.flatten(0, 1)).unflatten(0, crops.shape[:2])


class AudioEncoder(nn.Module):
    """The audio encoder: a window's mel to one embedding."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * factor for factor in (1, 2, 4, 8)]
        self.layers = nn.Sequential(
            ConvBlock(1, widths[0]),
            ResidualBlock(widths[0]),
            ConvBlock(widths[0], widths[1], stride=(1, 2)),
            ResidualBlock(widths[1]),
            ConvBlock(widths[1], widths[2], stride=2),
            ResidualBlock(widths[2]),
            ConvBlock(widths[2], widths[3], stride=2),
            ResidualBlock(widths[3]),
        )
        cells = -(-config.mel_frames // 4) * -(-config.mel.bins // 8)
        self.head = nn.Linear(widths[3] * cells, config.embedding)

    def forward(self, mel: Tensor) -> Tensor:
        """Encode log-mel [b m f] in dB with m = `config.mels` -> [b d], L2-normalised."""
        x = (mel / -self.config.mel.floor_db + 0.5)[:, None]
        return normalize(self.head(self.layers(x).flatten(1)), dim=-1)

    def encode_frames(self, mel: Tensor) -> Tensor:
        """Compute the audio embeddings of all frames, [b m f] -> [b t d]; both ends are padded with silence."""
        step, side = self.config.mel.timing.mels_per_frame, self.config.frames // 2
        padded = nn.functional.pad(mel, (0, 0, side * step, side * step), value=self.config.mel.floor_db)
        windows = padded.unfold(1, self.config.mel_frames, step).transpose(2, 3)  # [b t mels f]
        return self(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])


class SyncModel(nn.Module):
    """Both encoders, trained together and then frozen."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        self.config = config
        self.visual, self.audio = VisualEncoder(config), AudioEncoder(config)

    def forward(self, windows: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Compute embeddings [b d] of lower-half windows [b t 3 h w] and of mel [b m f]."""
        return self.visual(windows), self.audio(mel)

    def embed_clip(self, lower: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Compute visual and audio embeddings [t d] of a clip: lower halves uint8 [t 3 h w], mel [m f]."""
        device = self.visual.head.weight.device
        visual = self.visual.encode_frames(lower[None].to(device).float() / 255)
        return visual[0], self.audio.encode_frames(mel[None].to(device))[0]
