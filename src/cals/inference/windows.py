"""Units for a stream of sound of any length, in overlapping windows that join without a step."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, repeat
from math import floor

import numpy as np

from cals.arrays import Array, convert_like, get_namespace, lerp
from cals.features.mel import iterate_log_mel
from cals.models.network import LipNetwork
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


def iterate_units(model: LipNetwork, sound: Iterable[F32]) -> Iterator[Array]:
    """Yield blocks [t d] of units for blocks [n] of mono sound; endless silence follows the sound."""
    step = model.mel.timing.mels_per_frame
    window, overlap = WINDOW_S * model.mel.timing.fps, OVERLAP_S * model.mel.timing.fps
    silence = model.convert(np.full((window * step, model.mel.bins), model.mel.floor_db, np.float32))
    mels = chain(iterate_log_mel(sound, model.mel, model.convert), repeat(silence))
    ramp = model.convert((np.arange(0.5, overlap, dtype=np.float32) / np.float32(overlap))[:, None])
    mel = silence[:0]
    previous_tail: Array | None = None
    while True:
        while len(mel) < window * step:
            mel = get_namespace(mel).concatenate([mel, next(mels)])
        units = model.compute_units(mel[: window * step])
        if previous_tail is not None:
            blended = previous_tail * (1 - ramp) + units[:overlap] * ramp
            units = get_namespace(units).concatenate([blended, units[overlap:]])
        yield units[:-overlap]
        previous_tail = units[-overlap:]
        mel = mel[(window - overlap) * step :]


class UnitSource(ABC):
    """Units at any times, requested in rising order."""

    look_ahead: LookAhead
    _first: int
    """Index of the first unit held."""
    _units: Array

    def interpolate(self, positions: Sequence[Fraction]) -> Array:
        """Interpolate units [b d] linearly at positions on the unit axis (see `AVTiming.to_unit_position`)."""
        clamped = [max(position, Fraction(0)) for position in positions]
        self._load_until(floor(min(clamped)), floor(max(clamped)) + 1)
        lower = [floor(position) for position in clamped]
        fraction = np.array([[float(p - i)] for p, i in zip(clamped, lower, strict=True)], np.float32)
        index = np.array(lower) - self._first
        return lerp(self._units[index], self._units[index + 1], convert_like(fraction, self._units))

    def slice(self, first: int, last: int) -> Array:
        """Return units `first` to `last` inclusive, [last - first + 1 d]; `first` may not decrease."""
        self._load_until(first, last)
        return self._units[first - self._first : last + 1 - self._first]

    @abstractmethod
    def _load_until(self, low: int, high: int) -> None:
        """Hold units `low` to `high` inclusive."""


class UnitStream(UnitSource):
    """Units from blocks [t d]; keeps only the blocks that are still needed."""

    def __init__(self, blocks: Iterator[Array]) -> None:
        self.look_ahead = LookAhead()
        self._blocks = blocks
        self._first = 0
        self._units = next(blocks)

    def _load_until(self, low: int, high: int) -> None:
        if low < self._first:
            raise ValueError(f"units are given in rising order: asked for {low}, held from {self._first}")
        while self._first + len(self._units) <= high:
            keep = min(low - self._first, len(self._units))
            self._units = get_namespace(self._units).concatenate([self._units[keep:], next(self._blocks)])
            self._first += keep


def open_units(units: Iterator[Array] | UnitSource) -> UnitSource:
    """Return a source of units for blocks [t d] of them, or the source itself."""
    return units if isinstance(units, UnitSource) else UnitStream(units)
