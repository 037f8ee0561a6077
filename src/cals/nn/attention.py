"""A transformer over time for sequences of any length."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def compute_rotary_angles(length: int, width: int, device: torch.device) -> Tensor:
    """Return the angles [length width / 2] of rotary positions (Su et al., 2021), which make attention relative."""
    rates = 10_000 ** (-torch.arange(0, width, 2, device=device) / width)
    return torch.arange(length, device=device)[:, None] * rates


def apply_rotary(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate pairs of channels of [b heads t width] by the angles of their position."""
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


class TransformerLayer(nn.Module):
    """Pre-norm, bidirectional self-attention and feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, angles: Tensor, near: Tensor | None = None) -> Tensor:
        """Map [b t width] to [b t width]; with `near` [t t] a step attends only where it is True."""
        qkv = self.to_qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = apply_rotary(qkv[0], angles), apply_rotary(qkv[1], angles), qkv[2]
        dropout = self.dropout if self.training else 0.0
        attended = scaled_dot_product_attention(query, key, value, attn_mask=near, dropout_p=dropout)
        x = x + self.drop(self.to_out(attended.transpose(1, 2).flatten(2)))
        return x + self.drop(self.feed(self.norm_feed(x)))


class Transformer(nn.Module):
    """A stack of layers and a final norm; a step attends to those at most `reach` steps away, 0 for all."""

    def __init__(self, layers: int, width: int, heads: int, hidden: int, dropout: float, reach: int = 0) -> None:
        super().__init__()
        self.reach = reach
        self.layers = nn.ModuleList(TransformerLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head_width = width // heads

    def forward(self, x: Tensor) -> Tensor:
        """Map [b t width] to [b t width]."""
        angles = compute_rotary_angles(x.shape[1], self.head_width, x.device)
        positions = torch.arange(x.shape[1], device=x.device)
        near = (positions[:, None] - positions).abs() <= self.reach if self.reach else None
        for layer in self.layers:
            x = layer(x, angles, near)
        out: Tensor = self.norm(x)
        return out
