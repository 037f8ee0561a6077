"""Plots of curves with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cals.errors import ConfigError
from cals.metrics.bootstrap import Estimate


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Contents of one pair of axes."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[Estimate]]]
    """Label -> x values, and estimates."""
    hlines: Mapping[str, float] = field(default_factory=dict)
    """Label -> y of a dotted horizontal line."""
    vlines: Mapping[str, float] = field(default_factory=dict)
    """Label -> x of a dashed vertical line."""


def load_pyplot() -> Any:
    """Load pyplot without a window; ConfigError where matplotlib is missing, so call it before long work."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("plots: expected matplotlib, found none; pip install 'cals[train]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw_panels(path: Path, panels: Sequence[Sequence[Panel]]) -> None:
    """Draw a grid of panels, row by row, as PNG; rows may be of different lengths."""
    pyplot = load_pyplot()
    columns = max(map(len, panels))
    size = (6.2 * columns, 4.2 * len(panels))
    figure, axes = pyplot.subplots(len(panels), columns, figsize=size, squeeze=False)
    for row, of_row in zip(axes, panels, strict=True):
        for axis, panel in zip(row, of_row, strict=False):
            _draw_panel(axis, panel)
        for axis in row[len(of_row) :]:
            axis.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110, format="png")
    pyplot.close(figure)


def _draw_panel(axis: Any, panel: Panel) -> None:
    for number, (label, (places, estimates)) in enumerate(panel.lines.items()):
        colour = f"C{number}"
        axis.plot(places, [e.value for e in estimates], label=label, color=colour, marker=".")
        if all(e.low is not None for e in estimates):
            axis.fill_between(places, [e.low for e in estimates], [e.high for e in estimates], color=colour, alpha=0.15)
    for number, (label, height) in enumerate(panel.hlines.items()):
        axis.axhline(height, linestyle=":", color=f"C{number % 10}", label=label, linewidth=1.2)
    for number, (label, place) in enumerate(panel.vlines.items()):
        axis.axvline(place, linestyle="--", color=("black", "grey")[number % 2], label=label, linewidth=1)
    axis.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
