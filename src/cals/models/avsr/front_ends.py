"""What sees and what hears: each stream to features at the video's rate, by itself."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d

from cals.features.mel import log_mel
from cals.models.a2l import WhisperFront
from cals.models.avsr.config import AVSRConfig
from cals.nn.resnet import ResNet18

_STEM_TIME, _STEM_SPACE = 5, 7
"""Frames and pixels that the visual stem sees at once [A]."""
_STEM_SAMPLES, _STEM_STEP = 80, 4
"""Samples that the stem over the waveform sees at once, and from one step to the next [A]: 5 ms and 0.25 ms."""
_SHRINK = 8
"""Steps of the stem in one of the network's, after its three halvings."""


class VisualFrontEnd(nn.Module):
    """A 3-D convolution over time and picture, then ResNet-18 on every frame."""

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__()
        width = config.channels
        self.stem = nn.Sequential(
            nn.Conv3d(1, width, (_STEM_TIME, _STEM_SPACE, _STEM_SPACE), (1, 2, 2), (_STEM_TIME // 2, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.PReLU(width),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.network = ResNet18(2, width)

    def forward(self, mouths: Tensor, valid: Tensor) -> Tensor:
        """Grey mouths [b t h w] in 0..1, `valid` [b t] -> [b t features]."""
        leveled = (mouths - 0.5) * 4 * valid[..., None, None]  # of about unit deviation
        stem = self.stem(leveled[:, None])  # [b c t h w]
        frames = stem.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.network(frames).mean(dim=(2, 3))
        return features.view(*mouths.shape[:2], -1)


class WaveformFrontEnd(nn.Module):
    """ResNet-18 over the waveform, averaged over each video frame."""

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__()
        width = config.channels
        self.frame = config.mel.timing.samples_per_frame
        self.stem = nn.Sequential(
            nn.Conv1d(1, width, _STEM_SAMPLES, _STEM_STEP, bias=False), nn.BatchNorm1d(width), nn.PReLU(width)
        )
        self.network = ResNet18(1, width)

    def forward(self, wav: Tensor) -> Tensor:
        """Waveforms [b n] of whole frames, each of unit deviation -> [b t features]."""
        margin = (_STEM_SAMPLES - _STEM_STEP) // 2
        features = self.network(self.stem(nn.functional.pad(wav, (margin, margin))[:, None]))
        return avg_pool1d(features, self.frame // (_STEM_STEP * _SHRINK)).transpose(1, 2)


class PhoneticFrontEnd(nn.Module):
    """The pretrained half of Whisper that Audio-to-Lip hears with, and one layer that learns (ours)."""

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__()
        assert config.whisper is not None
        self.mel = config.mel
        self.front = WhisperFront(config.whisper, config.features, config.mel.floor_db, config.dropout)

    def fit_statistics(self, wavs: list[Tensor]) -> None:
        """Take mean and deviation of Whisper's features over waveforms [n] of the training set."""
        self.front.fit_statistics([log_mel(wav[None], self.mel)[0] for wav in wavs])

    def forward(self, wav: Tensor) -> Tensor:
        """Waveforms [b n] of whole frames -> [b t features]."""
        out: Tensor = self.front(log_mel(wav, self.mel), None)
        return out
