"""Conformer blocks (Gulati et al., 2020): attention for distant steps, convolution for near ones."""

from torch import Tensor, nn
from torch.nn.functional import glu, scaled_dot_product_attention, silu

from cals.nn.attention import apply_rotary


class ConformerBlock(nn.Module):
    """Half a feed-forward, self-attention, convolution, half a feed-forward, each with a skip; a final norm.

    The input may hold several streams of equal length. Attention sees all of them, with the same positions in each;
    the convolution runs along each stream by itself.
    """

    def __init__(self, width: int, heads: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.feed_before = _feed_forward(width, hidden, dropout)
        self.attention = _Attention(width, heads, dropout)
        self.convolution = _Convolution(width, kernel, dropout)
        self.feed_after = _feed_forward(width, hidden, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, angles: Tensor, valid: Tensor) -> Tensor:
        """Map [b s t width] of s streams to the same shape; rotary `angles` [t width / heads / 2], `valid` [b s t]."""
        x = x + self.feed_before(x) / 2
        x = x + self.attention(x, angles, valid)
        x = x + self.convolution(x, valid)
        x = x + self.feed_after(x) / 2
        out: Tensor = self.norm(x)
        return out


def _feed_forward(width: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, width),
        nn.Dropout(dropout),
    )


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, angles: Tensor, valid: Tensor) -> Tensor:
        batch, streams, steps, _ = x.shape
        qkv = self.to_qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))  # [b s t 3 h d]
        query, key, value = qkv.permute(3, 0, 4, 1, 2, 5).flatten(3, 4)  # [b h (s t) d] each
        positions = angles.repeat(streams, 1)
        attended = scaled_dot_product_attention(
            apply_rotary(query, positions),
            apply_rotary(key, positions),
            value,
            attn_mask=valid.flatten(1)[:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.drop(self.to_out(attended.transpose(1, 2).flatten(2)))
        return out.view(batch, streams, steps, -1)


class _Convolution(nn.Module):
    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.gate, self.mix = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.along = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.along_norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = glu(self.gate(self.norm(x)), dim=-1) * valid[..., None]  # steps beyond the end must not be read
        features = silu(self.along_norm(self.along(x.flatten(0, 1).transpose(1, 2)))).transpose(1, 2)
        out: Tensor = self.drop(self.mix(features))
        return out.view_as(x)
