"""When a person's mouth is generated, and how strongly it moves."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from cals.inference.fade import smooth_step

EDGE_FADE_S = Fraction(3, 25)
"""Time in which a mouth fades in and out at the edges of a span, within it: outside, pictures stay as they are."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of the video in which one person speaks."""

    start_s: Fraction
    end_s: Fraction
    strength: float = 1.0
    """Scale of the mouth's motion."""


class Schedule:
    """The spans in which one person's mouth is generated; they may touch, not overlap."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = sorted(spans, key=lambda span: span.start_s)
        self._starts = [span.start_s for span in self._spans]
        self._blocks: list[tuple[Fraction, Fraction]] = []
        """Spans that touch, joined, since no mouth fades between them."""
        for span in self._spans:
            if self._blocks and span.start_s <= self._blocks[-1][1]:
                self._blocks[-1] = self._blocks[-1][0], max(span.end_s, self._blocks[-1][1])
            else:
                self._blocks.append((span.start_s, span.end_s))
        self._block_starts = [start_s for start_s, _ in self._blocks]

    @property
    def blocks(self) -> Sequence[tuple[Fraction, Fraction]]:
        """Times in which the mouth is generated: spans that touch are one."""
        return self._blocks

    @property
    def start_s(self) -> Fraction:
        """Start of the first span."""
        return self._starts[0]

    def compute_weight(self, start_s: Fraction, end_s: Fraction) -> float:
        """Compute the weight of the generated mouth in a frame; 0 if it starts outside of the spans."""
        index = bisect_right(self._block_starts, start_s) - 1
        if index < 0:
            return 0.0
        first_s, last_s = self._blocks[index]
        # as in `fade`: as far from the edge before it as its end, and from the one after it as its start
        return smooth_step(min(end_s - first_s, last_s - start_s) / EDGE_FADE_S)

    def get_strength(self, time_s: Fraction) -> float:
        """Return the scale of the motion at `time_s`; between two spans, that of the one before."""
        index = bisect_right(self._starts, time_s) - 1
        return self._spans[max(index, 0)].strength
