"""The lip reader: classifies words of a small vocabulary from video alone, given the word's times."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from cals.errors import ConfigError
from cals.nn.blocks import ConvBlock, ResidualBlock

GRID_SLOTS: dict[str, tuple[str, ...]] = {
    "command": ("bin", "lay", "place", "set"),
    "colour": ("blue", "green", "red", "white"),
    "preposition": ("at", "by", "in", "with"),
    "letter": tuple("abcdefghijklmnopqrstuvxyz"),
    "digit": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "adverb": ("again", "now", "please", "soon"),
}
"""GRID's grammar (Cooke et al., 2006): a sentence has one word of each slot, in this order; slots do not overlap."""
BLANK = -1
"""Index that marks a missing frame in a word's window."""
PATCH_PX = 4
"""Side of the pixel patches that become channels: nothing is lost, and a large, costly first level is saved."""


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """Sizes, and the part of a crop that is used (ours)."""

    slots: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(GRID_SLOTS))
    """The vocabulary, by position in the sentence."""
    crop_px: int = 128
    cut: tuple[int, int, int, int] = (68, 116, 28, 100)
    """Mouth and chin in an aligned crop: top, bottom, left, right, in pixels."""
    fps: int = 25
    context: int = 3
    """Number of frames before and after the word's own frames."""
    width: int = 16
    """Half the channels of the first level; the next levels have 4 times as many."""
    hidden: int = 128
    """Width of a frame's features."""
    layers: int = 3
    dropout: float = 0.3

    def __post_init__(self) -> None:
        top, bottom, left, right = self.cut
        if not (0 <= top < bottom <= self.crop_px and 0 <= left < right <= self.crop_px):
            raise ConfigError(f"reader: expected a cut within the crop of {self.crop_px} px, found {self.cut}")
        if (bottom - top) % PATCH_PX or (right - left) % PATCH_PX:
            raise ConfigError(f"reader: expected a cut of multiples of {PATCH_PX} px, found {self.cut}")
        if len(set(self.words)) < max(2, len(self.words)):
            raise ConfigError(f"reader: expected two or more words, each in one slot, found {self.slots}")
        if min(self.fps, self.width, self.hidden, self.layers) < 1 or self.context < 0 or not 0 <= self.dropout < 1:
            raise ConfigError(f"reader: expected positive sizes, context >= 0 and dropout in 0..1, found {self}")

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary in the order of the network's outputs."""
        return tuple(word for words in self.slots.values() for word in words)

    @property
    def slot_of(self) -> dict[str, str]:
        """Word -> its slot."""
        return {word: slot for slot, words in self.slots.items() for word in words}

    @property
    def cut_px(self) -> tuple[int, int]:
        """Height and width of the part of a crop that is used."""
        top, bottom, left, right = self.cut
        return bottom - top, right - left


class TemporalBlock(nn.Module):
    """A residual convolution over time; missing frames stay zero."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.conv = nn.LayerNorm(width), nn.Conv1d(width, width, 5, padding=2)
        self.rest = nn.Sequential(nn.GELU(), nn.Dropout(dropout))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Compute features, [n t width], [n t 1] -> [n t width]."""
        out = self.conv((self.norm(x) * valid).transpose(1, 2)).transpose(1, 2)
        return (x + self.rest(out)) * valid


class LipReader(nn.Module):
    """The network: features of every frame by itself, and a classifier over those of the word and its context.

    Frames do not mix before the window is cut, so that nothing of a blanked frame is visible.
    """

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        height, width = (-(-size // 16) for size in config.cut_px)
        self.eye = nn.Sequential(
            ConvBlock(3 * PATCH_PX**2, 2 * w),
            ResidualBlock(2 * w),
            ConvBlock(2 * w, 4 * w, stride=2),
            ResidualBlock(4 * w),
            ConvBlock(4 * w, 4 * w, stride=2),
            ResidualBlock(4 * w),
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(4 * w * height * width, config.hidden),
        )
        self.place = nn.Embedding(2, config.hidden)
        self.layers = nn.ModuleList(TemporalBlock(config.hidden, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(2 * config.hidden, len(config.words)))

    def forward(self, frames: Tensor, index: Tensor, own: Tensor) -> Tensor:
        """Compute logits [n words] of n words from mouth cuts [t 3 h w] in 0..1; windows are the frames `index` [n l].

        `index` is BLANK where a frame is missing. `own` [n l] marks the word's own positions in its window: they are
        pooled, and a blank one among them is filled in by the layers.
        """
        patches = pixel_unshuffle(frames * 2 - 1, PATCH_PX)
        features = self.eye(patches.contiguous(memory_format=torch.channels_last))  # a third faster on the CPU
        visible = (index != BLANK)[..., None]
        x = torch.where(
            visible, features[index.clamp_min(0)], torch.zeros((), dtype=features.dtype, device=features.device)
        )
        valid = (visible | own[..., None]).to(features.dtype)
        x = (x + self.place(own.long())) * valid
        for layer in self.layers:
            x = layer(x, valid)
        x, mask = self.norm(x), own[..., None]
        mean = (x * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
        peak = x.masked_fill(~mask, -torch.inf).amax(dim=1)
        return self.head(torch.cat([mean, peak.to(mean.dtype)], dim=-1))
