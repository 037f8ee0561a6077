"""SVG plot of a measure of several methods: a dot for every clip, the mean and its interval on top."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from cals.metrics.bootstrap import Estimate

WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _FOOT = 460, 118, 18, 12, 30, 26
_TICKS = 4


@dataclass(frozen=True)
class Dots:
    """One row of a plot."""

    values: Sequence[float]
    """One for each clip, all finite."""
    mean: Estimate


def render_dot_plot(rows: Mapping[str, Dots], name: str, *, best: float, digits: int) -> str:
    """Render an SVG styled by the page's classes `clip`, `interval`, `mean`, `axis`; `name` is for screen readers.

    A finite `best` is the value to reach; rows without values are left out.
    """
    rows = {method: dots for method, dots in rows.items() if dots.values}
    ends = [end for dots in rows.values() for end in (*dots.values, *_find_interval(dots.mean))]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    height = _TOP + _ROW * len(rows) + _FOOT
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(name, quote=True)}">',
        *_render_axis(low, high, x, height),
    ]
    if math.isfinite(best) and low < best < high:
        goal_x = x(best)
        parts.append(f'<line class="goal" x1="{goal_x:.1f}" x2="{goal_x:.1f}" y1="{_TOP}" y2="{height - _FOOT}"/>')
    for row, (method, dots) in enumerate(rows.items()):
        y = _TOP + _ROW * (row + 0.5)
        label = method if len(method) < 17 else f"{method[:15]}…"
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        parts += [
            f'<circle class="clip" cx="{x(v):.1f}" cy="{y + _compute_jitter(i):.1f}" r="2.5"/>'
            for i, v in enumerate(dots.values)
        ]
        first, last = _find_interval(dots.mean)
        parts.append(f'<line class="interval" x1="{x(first):.1f}" x2="{x(last):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        tooltip = f"{method}: mean {dots.mean.value:.{digits}f}, clips: {len(dots.values)}"
        parts.append(
            f'<circle class="mean" cx="{x(dots.mean.value):.1f}" cy="{y:.1f}" r="4.5">'
            f"<title>{escape(tooltip)}</title></circle>"
        )
    return "".join([*parts, "</svg>"])


def _find_interval(found: Estimate) -> tuple[float, float]:
    mean, low, high = found
    return (mean, mean) if low is None or high is None else (low, high)


def _compute_jitter(index: int) -> float:
    """Return a small fixed offset from the line, in pixels, so that equal values can be told apart."""
    return (-7, 7, -4, 4, -9, 9)[index % 6]


def _render_axis(low: float, high: float, x: Callable[[float], float], height: int) -> list[str]:
    step = _round_step((high - low) / _TICKS)
    bottom = height - _FOOT
    digits = max(-math.floor(math.log10(step) + 1e-9), 0)
    parts = []
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        at = x(number * step)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{number * step:.{digits}f}</text>')
    return parts


def _round_step(step: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten, at least `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
