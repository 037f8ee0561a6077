"""Audio-to-Lip: speech to contextualised lip motion units, trained by masked prediction."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.models.whisper import WhisperConfig, WhisperEncoder
from cals.nn.attention import Transformer
from cals.nn.blocks import ConvBlock, ResidualBlock


@dataclass(frozen=True, kw_only=True)
class A2LConfig:
    """Masked prediction is published (paper section 1); sizes are those of related work or ours ([K], [D])."""

    mel: MelConfig = field(default_factory=MelConfig)
    whisper: WhisperConfig | None = None
    """The pretrained phonetic front-end (ours). None uses the published convolutions over the mel."""
    unit: int = 512
    """Width of a unit: the visual sync encoder's embedding."""
    channels: tuple[int, int] = (128, 256)
    """Channels of the two convolutions over the mel."""
    width: int = 512
    layers: int = 6
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1
    reach: int = 0
    """Frames that a layer attends to on either side; 0 for the whole clip, as published.

    A limited reach keeps the network from learning the rhythm of a corpus whose sentences share one grammar.
    """

    def __post_init__(self) -> None:
        if self.mel.timing.mels_per_frame != 4:
            raise ConfigError(f"a2l: expected 4 mel frames a video frame, found {self.mel.timing.mels_per_frame}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ConfigError(f"a2l: expected heads of an even width, found {self.width} / {self.heads}")
        if self.reach < 0:
            raise ConfigError(f"a2l: expected a reach of 0 (all) or more frames, found {self.reach}")
        if self.whisper is not None and self.whisper.bins != self.mel.bins:
            raise ConfigError(f"a2l: expected {self.whisper.bins} mel bins for Whisper, found {self.mel.bins}")


class A2L(nn.Module):
    """Mel at 100/s -> front-end -> transformer over time -> a unit per video frame."""

    front: "MelFrontEnd | WhisperFrontEnd"

    def __init__(self, config: A2LConfig) -> None:
        super().__init__()
        self.config = config
        self.front = (
            MelFrontEnd(config)
            if config.whisper is None
            else WhisperFrontEnd(config.whisper, config.width, config.mel.floor_db, config.dropout)
        )
        self.trunk = Transformer(config.layers, config.width, config.heads, config.hidden, config.dropout, config.reach)
        self.head = nn.Linear(config.width, config.unit)

    def forward(self, mel: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Compute units [b t d] from log-mel [b m f] in dB, t = m / 4; steps where `hidden` [b t] is True are masked.

        The mask is applied before the front-end, so that no layer has access to masked steps.
        """
        return self.head(self.trunk(self.front(mel, hidden)))


class MelFrontEnd(nn.Module):
    """Two strided convolutions over the mel, as published.

    `mel_mean` and `mel_std` [f] are fixed statistics of the training set. Statistics of the utterance itself would
    leak context: every frame would depend on all others.
    """

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: A2LConfig) -> None:
        super().__init__()
        self.register_buffer("mel_mean", torch.full((config.mel.bins,), -45.0))
        self.register_buffer("mel_std", torch.full((config.mel.bins,), 20.0))
        self.hidden_step = nn.Parameter(torch.zeros(config.mel.bins))
        first, second = config.channels
        self.layers = nn.Sequential(
            ConvBlock(1, first, stride=2), ConvBlock(first, second, stride=2), ResidualBlock(second)
        )
        self.join = nn.Sequential(
            nn.Linear(second * -(-config.mel.bins // 4), config.width), nn.LayerNorm(config.width)
        )

    def fit_statistics(self, mels: list[Tensor]) -> None:
        """Compute mean and standard deviation over log-mels [m f] of the training set."""
        frames = torch.cat(mels)
        self.mel_mean.copy_(frames.mean(dim=0))
        self.mel_std.copy_(frames.std(dim=0).clamp_min(1.0))

    def forward(self, mel: Tensor, hidden: Tensor | None) -> Tensor:
        """Compute features, [b m f], [b t] -> [b t width]; masked steps are replaced by a learned vector."""
        x = (mel - self.mel_mean) / self.mel_std
        if hidden is not None:
            x = torch.where(hidden.repeat_interleave(4, dim=1)[..., None], self.hidden_step, x)
        features = self.layers(x[:, None])  # [b c t f/4]
        return self.join(features.transpose(1, 2).flatten(2))


class WhisperFrontEnd(nn.Module):
    """The frozen encoder, two of its steps per frame, standardised; then one convolution over time."""

    mean: Tensor
    std: Tensor

    def __init__(self, whisper: WhisperConfig, width: int, floor_db: float, dropout: float) -> None:
        super().__init__()
        self.encoder = WhisperEncoder(whisper)
        self.floor_db = floor_db
        self.register_buffer("mean", torch.zeros(2 * whisper.width))
        self.register_buffer("std", torch.ones(2 * whisper.width))
        self.drop = nn.Dropout(dropout)
        self.join = nn.Linear(2 * whisper.width, width)
        self.hidden_step = nn.Parameter(torch.zeros(width))
        self.near = nn.Conv1d(width, width, 5, padding=2)

    def fit_statistics(self, mels: list[Tensor]) -> None:
        """Compute mean and standard deviation of the features over log-mels [m f] of the training set."""
        features = torch.cat([self._features(mel[None])[0] for mel in mels])
        self.mean.copy_(features.mean(dim=0))
        self.std.copy_(features.std(dim=0).clamp_min(1e-3))

    def forward(self, mel: Tensor, hidden: Tensor | None) -> Tensor:
        """Compute features, [b m f], [b t] -> [b t width].

        Masked steps are silence at the encoder's input and a learned vector after it.
        """
        if hidden is not None:
            mel = torch.where(hidden.repeat_interleave(4, dim=1)[..., None], self.floor_db, mel)
        x = self.join(self.drop((self._features(mel) - self.mean) / self.std))
        if hidden is not None:
            x = torch.where(hidden[..., None], self.hidden_step, x)
        return x + gelu(self.near(x.transpose(1, 2)).transpose(1, 2))

    def _features(self, mel: Tensor) -> Tensor:
        features: Tensor = self.encoder(mel)
        return features.reshape(len(features), -1, 2 * features.shape[2])
