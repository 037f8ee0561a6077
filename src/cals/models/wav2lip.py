"""Wav2Lip, built from our own parts as the baseline: each frame is generated from its own 0.2 s of audio alone."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from cals.errors import ConfigError
from cals.features.mel import MelConfig
from cals.models.lips import LipConfig, LipGenerator
from cals.models.sync import AudioEncoder, SyncConfig
from cals.models.unet import UNet, UNetConfig


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """The audio window of a frame: 5 frames or 0.2 s of mel, as published; sizes are the sync encoders' ([K], [D])."""

    mel: MelConfig = field(default_factory=MelConfig)
    frames: int = 5
    """Length of the window in video frames; the frame itself is the middle one."""
    unit: int = 512
    width: int = 32
    """Channels of the first level."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % 2 == 0 or min(self.unit, self.width) < 1:
            raise ConfigError(f"window: expected an odd number of frames and positive sizes, found {self}")

    @property
    def encoder(self) -> SyncConfig:
        """Config of the window encoder, which has the form of the audio sync encoder."""
        return SyncConfig(mel=self.mel, frames=self.frames, embedding=self.unit, width=self.width)


class WindowEncoder(nn.Module):
    """Mel to one unit per frame, each from its own window; L2-normalised, like the targets of Audio-to-Lip."""

    def __init__(self, config: WindowConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = AudioEncoder(config.encoder)

    def forward(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encode log-mel [b m f] in dB to units [b t d] of all frames, or [b n d] of those in `frames` [b n].

        Both ends are padded with silence.
        """
        if frames is None:
            return self.encoder.encode_frames(mel)
        step, side = self.config.mel.timing.mels_per_frame, self.config.frames // 2
        padded = nn.functional.pad(mel, (0, 0, side * step, side * step), value=self.config.mel.floor_db)
        windows = padded.unfold(1, self.config.frames * step, step).transpose(2, 3)  # [b t mels f]
        index = frames[..., None, None].expand(-1, -1, *windows.shape[2:])
        return self.encoder(windows.gather(1, index).flatten(0, 1)).unflatten(0, frames.shape)


@dataclass(frozen=True, kw_only=True)
class Wav2LipConfig(LipConfig):
    """The published architecture with the U-Net of CALS, so that the two differ in their audio input alone."""

    window: WindowConfig = field(default_factory=WindowConfig)
    decoder: UNetConfig = field(default_factory=UNetConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window.mel != self.mel or self.window.unit != self.decoder.unit:
            raise ConfigError(
                f"{type(self).__name__}: expected parts of one mel and one width of units, found {self.window.unit} "
                f"against {self.decoder.unit}"
            )
        if self.crop_px != self.decoder.crop_px:
            raise ConfigError(
                f"{type(self).__name__}: expected one size of crops, found {self.crop_px} and {self.decoder.crop_px}"
            )


class Wav2Lip(LipGenerator):
    """The lip model: crops from an audio window, a reference frame and the current frame's pose prior."""

    config: Wav2LipConfig

    def __init__(self, config: Wav2LipConfig) -> None:
        super().__init__()
        self.config = config
        self.window, self.decoder = WindowEncoder(config.window), UNet(config.decoder)

    def predict_units(self, mel: Tensor) -> Tensor:
        """Compute units, [b m f] -> [b t d]."""
        return self.window(mel)

    def forward(self, mel: Tensor, frames: Tensor, reference: Tensor, real: Tensor) -> Tensor:
        """Generate crops for a training step, as `UNetLips` does; only the windows of `frames` [b t] are encoded."""
        return self.generate(self.window(mel, frames), reference, real)
