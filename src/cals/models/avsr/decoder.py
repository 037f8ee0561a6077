"""The attention decoder: the next token from the previous ones and the encoder's features."""

import math

import torch
from torch import Tensor, nn

from cals.models.avsr.config import AVSRConfig


class Decoder(nn.Module):
    """A pre-norm transformer decoder with sinusoidal positions, as published."""

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.tokens.size, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                config.width, config.heads, config.hidden, config.dropout, batch_first=True, norm_first=True
            )
            for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.tokens.size)

    def forward(self, before: Tensor, features: Tensor, valid: Tensor) -> Tensor:
        """Compute logits [b n tokens] of the token after each of `before` [b n] from features [b t width]."""
        length, width = before.shape[1], features.shape[-1]
        x = self.embedding(before) * math.sqrt(width) + build_sinusoids(length, width, features.device)
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        x = self.drop(x)
        for layer in self.layers:
            x = layer(x, features, tgt_mask=causal, memory_key_padding_mask=~valid)
        logits: Tensor = self.head(self.norm(x))
        return logits


def build_sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Build sinusoidal positional encodings [length width] (Vaswani et al., 2017)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
