"""Sizes of the recogniser."""

from dataclasses import dataclass, field
from typing import Literal

from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.models.avsr.tokens import Tokens
from cals.models.whisper import WhisperConfig

Streams = Literal["both", "audio", "video"]


@dataclass(frozen=True, kw_only=True)
class AVSRConfig:
    """Defaults are the published sizes (paper section 3, [A]), unless a field says that they are ours."""

    tokens: Tokens = field(default_factory=Tokens)
    mel: MelConfig = field(default_factory=MelConfig)
    """Its timing is that of the streams; the mel itself is used by `whisper` alone."""
    whisper: WhisperConfig | None = None
    """Pretrained phonetic front-end (ours) in place of a network over the waveform."""
    streams: Streams = "both"
    """Input streams; `audio` and `video` are the single-stream baselines."""
    scoring: bool = True
    """Whether reliability scores weight the streams; only with both."""
    crop_px: int = 128
    cut: tuple[int, int, int, int] = (56, 128, 28, 100)
    """The square around the mouth in an aligned crop: top, bottom, left, right, in pixels ([D])."""
    mouth_px: int = 96
    """Size to which that square is resized."""
    view_px: int = 88
    """Size of the network's input: a random crop of that square in training, else its centre."""
    channels: int = 64
    """Channels of both front-ends' first stages; a frame has 8 times as many features."""
    score_kernel: int = 7
    width: int = 256
    heads: int = 4
    hidden: int = 2048
    encoder_layers: int = 12
    kernel: int = 31
    decoder_layers: int = 6
    dropout: float = 0.1

    def __post_init__(self) -> None:
        top, bottom, left, right = self.cut
        if (
            not (0 <= top < bottom <= self.crop_px and 0 <= left < right <= self.crop_px)
            or bottom - top != right - left
        ):
            raise ConfigError(f"avsr: expected a square cut within the crop of {self.crop_px} px, found {self.cut}")
        if not 0 < self.view_px <= self.mouth_px:
            raise ConfigError(f"avsr: expected a view of at most {self.mouth_px} px, found {self.view_px}")
        if self.width % (2 * self.heads):
            raise ConfigError(f"avsr: expected heads of an even width, found {self.width} / {self.heads}")
        if self.kernel % 2 == 0 or self.score_kernel % 2 == 0:
            raise ConfigError(f"avsr: expected odd kernels, found {self.kernel} and {self.score_kernel}")
        sizes = (self.channels, self.encoder_layers, self.decoder_layers, self.hidden)
        if min(sizes) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(f"avsr: expected positive sizes and dropout in 0..1, found {sizes} and {self.dropout}")
        if self.whisper is not None and self.whisper.bins != self.mel.bins:
            raise ConfigError(f"avsr: expected {self.whisper.bins} mel bins for Whisper, found {self.mel.bins}")

    @property
    def features(self) -> int:
        """Width of a frame's features in each stream."""
        return 8 * self.channels

    @property
    def has_audio(self) -> bool:
        return self.streams != "video"

    @property
    def has_video(self) -> bool:
        return self.streams != "audio"

    @property
    def has_scores(self) -> bool:
        return self.scoring and self.streams == "both"
