"""The front-ends: each stream, by itself, to features at the video's frame rate."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d

from cals.features.mel import compute_log_mel
from cals.models.a2l import WhisperFrontEnd
from cals.models.avsr.config import AVSRConfig
from cals.nn.resnet import ResNet18

_STEM_FRAMES, _STEM_PX = 5, 7
"""Kernel size of the visual stem in frames and pixels [A]."""
_STEM_SAMPLES, _STEM_STRIDE = 80, 4
"""Kernel size and stride of the waveform stem in samples [A]: 5 ms and 0.25 ms."""
_RESNET_STRIDE = 8
"""Total stride of the ResNet, in steps of the stem: it has three halvings."""


class VisualFrontEnd(nn.Module):
    """A 3-D convolution over time and space, then ResNet-18 on every frame."""

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__()
        width = config.channels
        self.stem = nn.Sequential(
            nn.Conv3d(1, width, (_STEM_FRAMES, _STEM_PX, _STEM_PX), (1, 2, 2), (_STEM_FRAMES // 2, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.PReLU(width),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.network = ResNet18(2, width)

    def forward(self, mouths: Tensor, valid: Tensor) -> Tensor:
        """Compute features [b t features] of grey mouths [b t h w] in 0..1, `valid` [b t]."""
        leveled = (mouths - 0.5) * 4 * valid[..., None, None]  # standard deviation about 1
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
            nn.Conv1d(1, width, _STEM_SAMPLES, _STEM_STRIDE, bias=False), nn.BatchNorm1d(width), nn.PReLU(width)
        )
        self.network = ResNet18(1, width)

    def forward(self, wav: Tensor) -> Tensor:
        """Compute features [b t features] of waveforms [b n] of whole frames, each of unit standard deviation."""
        margin = (_STEM_SAMPLES - _STEM_STRIDE) // 2
        features = self.network(self.stem(nn.functional.pad(wav, (margin, margin))[:, None]))
        return avg_pool1d(features, self.frame // (_STEM_STRIDE * _RESNET_STRIDE)).transpose(1, 2)


class PhoneticFrontEnd(nn.Module):
    """The pretrained half of Whisper that Audio-to-Lip uses too, and one trainable layer (ours)."""

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__()
        assert config.whisper is not None
        self.mel = config.mel
        self.front = WhisperFrontEnd(config.whisper, config.features, config.mel.floor_db, config.dropout)

    def fit_statistics(self, wavs: list[Tensor]) -> None:
        """Compute mean and standard deviation of Whisper's features over waveforms [n] of the training set."""
        self.front.fit_statistics([compute_log_mel(wav[None], self.mel)[0] for wav in wavs])

    def forward(self, wav: Tensor) -> Tensor:
        """Compute features [b t features] of waveforms [b n] of whole frames."""
        out: Tensor = self.front(compute_log_mel(wav, self.mel), None)
        return out
