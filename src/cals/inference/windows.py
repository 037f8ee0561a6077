"""Units for a stream of sound of any length, in overlapping windows that join without a step."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, repeat
from math import floor

import torch
from torch import Tensor

from cals.features.mel import iterate_log_mel
from cals.models.lips import LipModel
from cals.types import F32

WINDOW_S = 10  # about eight times the context the paper finds useful
OVERLAP_S = 2  # shared by neighbours and cross-faded


@dataclass(frozen=True, kw_only=True)
class LookAhead:
    """Units after a frame that its mouth may depend on."""

    sources: int = 13
    """Units beyond the last frame that count when sources are chosen and speech is looked for, about half a second."""
    gain: int = 600
    """Units that the gain is estimated from before the first frame, 24 s; 0 adapts it to what was heard so far."""


def iterate_units(model: LipModel, sound: Iterable[F32]) -> Iterator[Tensor]:
    """Yield blocks [t d] of units for blocks [n] of mono sound; endless silence follows the sound."""
    device = next(model.parameters()).device
    step = model.mel.timing.mels_per_frame
    window, overlap = WINDOW_S * model.mel.timing.fps, OVERLAP_S * model.mel.timing.fps
    silence = torch.full((window * step, model.mel.bins), model.mel.floor_db)
    mels = chain(iterate_log_mel(sound, model.mel), repeat(silence))
    ramp = ((torch.arange(overlap) + 0.5) / overlap)[:, None]
    mel = torch.zeros(0, model.mel.bins)
    previous_tail: Tensor | None = None
    while True:
        while len(mel) < window * step:
            mel = torch.cat([mel, next(mels)])
        with torch.inference_mode():
            units = model.predict_units(mel[None, : window * step].to(device))[0].float().cpu()
        if previous_tail is not None:
            blended = previous_tail * (1 - ramp) + units[:overlap] * ramp
            units = torch.cat([blended, units[overlap:]])
        yield units[:-overlap]
        previous_tail = units[-overlap:]
        mel = mel[(window - overlap) * step :]


class UnitSource(ABC):
    """Units at any times, requested in rising order."""

    look_ahead: LookAhead
    _first: int
    """Index of the first unit held."""
    _units: Tensor

    def interpolate(self, positions: Sequence[Fraction]) -> Tensor:
        """Interpolate units [b d] linearly at positions on the unit axis (see `AVTiming.to_unit_position`)."""
        clamped = [max(position, Fraction(0)) for position in positions]
        self._load_until(floor(min(clamped)), floor(max(clamped)) + 1)
        lower = [floor(position) for position in clamped]
        fraction = torch.tensor([float(p - i) for p, i in zip(clamped, lower, strict=True)])[:, None]
        index = torch.tensor(lower) - self._first
        return torch.lerp(self._units[index], self._units[index + 1], fraction)

    def slice(self, first: int, last: int) -> Tensor:
        """Return units `first` to `last` inclusive, [last - first + 1 d]; `first` may not decrease."""
        self._load_until(first, last)
        return self._units[first - self._first : last + 1 - self._first]

    @abstractmethod
    def _load_until(self, low: int, high: int) -> None:
        """Hold units `low` to `high` inclusive."""


class UnitStream(UnitSource):
    """Units from blocks [t d]; keeps only the blocks that are still needed."""

    def __init__(self, blocks: Iterator[Tensor]) -> None:
        self.look_ahead = LookAhead()
        self._blocks = blocks
        self._first = 0
        self._units = next(blocks)

    def _load_until(self, low: int, high: int) -> None:
        if low < self._first:
            raise ValueError(f"units are given in rising order: asked for {low}, held from {self._first}")
        while self._first + len(self._units) <= high:
            keep = min(low - self._first, len(self._units))
            self._units = torch.cat([self._units[keep:], next(self._blocks)])
            self._first += keep


def open_units(units: Iterator[Tensor] | UnitSource) -> UnitSource:
    """Return a source of units for blocks [t d] of them, or the source itself."""
    return units if isinstance(units, UnitSource) else UnitStream(units)
