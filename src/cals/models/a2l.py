"""Audio-to-Lip: speech to contextualised lip motion units, trained by masked prediction."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.nn.attention import Transformer
from cals.nn.blocks import ConvBlock, ResidualBlock


@dataclass(frozen=True, kw_only=True)
class A2LConfig:
    """Paper section 1: what is published is the masked prediction; sizes are the kin's or ours ([K], [D])."""

    mel: MelConfig = field(default_factory=MelConfig)
    unit: int = 512
    """Width of a unit: the visual sync encoder's embedding."""
    channels: tuple[int, int] = (128, 256)
    width: int = 512
    layers: int = 6
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.mel.timing.mels_per_frame != 4:
            raise ConfigError(f"a2l: expected 4 mel frames a video frame, found {self.mel.timing.mels_per_frame}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ConfigError(f"a2l: expected heads of an even width, found {self.width} / {self.heads}")


class A2L(nn.Module):
    """Mel at 100/s -> two strided convolutions -> transformer over the whole clip -> a unit per video frame.

    `mel_mean` and `mel_std` [f] are fixed statistics of the training set: those of the utterance itself would tell
    every frame about all others (they leak context).
    """

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: A2LConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mel_mean", torch.full((config.mel.bins,), -45.0))
        self.register_buffer("mel_std", torch.full((config.mel.bins,), 20.0))
        self.hidden_step = nn.Parameter(torch.zeros(config.mel.bins))
        first, second = config.channels
        self.front = nn.Sequential(
            ConvBlock(1, first, stride=2), ConvBlock(first, second, stride=2), ResidualBlock(second)
        )
        self.join = nn.Sequential(
            nn.Linear(second * -(-config.mel.bins // 4), config.width), nn.LayerNorm(config.width)
        )
        self.trunk = Transformer(config.layers, config.width, config.heads, config.hidden, config.dropout)
        self.head = nn.Linear(config.width, config.unit)

    def forward(self, mel: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Log-mel [b m f] in dB -> units [b t d], t = m / 4; steps where `hidden` [b t] is True are not heard.

        What is hidden is replaced by a learned vector before the first convolution, so that none sees through it.
        """
        x = (mel - self.mel_mean) / self.mel_std
        if hidden is not None:
            x = torch.where(hidden.repeat_interleave(4, dim=1)[..., None], self.hidden_step, x)
        heard = self.front(x[:, None])  # [b c t f/4]
        return self.head(self.trunk(self.join(heard.transpose(1, 2).flatten(2))))
