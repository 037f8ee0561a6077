"""Units for a stream of sound of any length, in overlapping windows that join without a step."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, repeat
from math import floor

import torch
from torch import Tensor

from cals.features.mel import mel_blocks
from cals.models.lips import LipModel
from cals.types import F32

WINDOW_S = 10  # about eight times the context the paper finds useful
OVERLAP_S = 2  # shared by neighbours and cross-faded


def unit_blocks(model: LipModel, sound: Iterable[F32]) -> Iterator[Tensor]:
    """Blocks [t d] of units for blocks [n] of mono sound; after its end silence follows without end."""
    device = next(model.parameters()).device
    step = model.mel.timing.mels_per_frame
    window, overlap = WINDOW_S * model.mel.timing.fps, OVERLAP_S * model.mel.timing.fps
    silence = torch.full((window * step, model.mel.bins), model.mel.floor_db)
    mels = chain(mel_blocks(sound, model.mel), repeat(silence))
    ramp = ((torch.arange(overlap) + 0.5) / overlap)[:, None]
    heard = torch.zeros(0, model.mel.bins)
    previous_tail: Tensor | None = None
    while True:
        while len(heard) < window * step:
            heard = torch.cat([heard, next(mels)])
        with torch.inference_mode():
            units = model.units(heard[None, : window * step].to(device))[0].float().cpu()
        if previous_tail is not None:
            joined = previous_tail * (1 - ramp) + units[:overlap] * ramp
            units = torch.cat([joined, units[overlap:]])
        yield units[:-overlap]
        previous_tail = units[-overlap:]
        heard = heard[(window - overlap) * step :]


class UnitTrack:
    """Units at any times, asked for in rising order; holds only the blocks that are still needed."""

    def __init__(self, blocks: Iterator[Tensor]) -> None:
        self._blocks = blocks
        self._first = 0  # index of the first unit held
        self._held = next(blocks)

    def at(self, positions: Sequence[Fraction]) -> Tensor:
        """Units [b d] at these positions on the unit axis (see `AVTiming.unit_position`), linearly in between."""
        clamped = [max(position, Fraction(0)) for position in positions]
        self._reach(floor(min(clamped)), floor(max(clamped)) + 1)
        below = [floor(position) for position in clamped]
        share = torch.tensor([float(p - i) for p, i in zip(clamped, below, strict=True)])[:, None]
        index = torch.tensor(below) - self._first
        return torch.lerp(self._held[index], self._held[index + 1], share)

    def window(self, first: int, last: int) -> Tensor:
        """Units `first` to `last`, both of them, [last - first + 1 d]; `first` may not fall."""
        self._reach(first, last)
        return self._held[first - self._first : last + 1 - self._first]

    def _reach(self, low: int, high: int) -> None:
        if low < self._first:
            raise ValueError(f"units are given in rising order: asked for {low}, held from {self._first}")
        while self._first + len(self._held) <= high:
            keep = min(low - self._first, len(self._held))
            self._held = torch.cat([self._held[keep:], next(self._blocks)])
            self._first += keep
