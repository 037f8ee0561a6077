"""Plots as PNG files, and the one place that opens matplotlib."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def load_pyplot(option: str | None = None) -> Any:
    """Load pyplot without a window; ConfigError where matplotlib is missing, so call it before long work.

    `option` is the command's option that asks for the plot, if there is one.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(
            f"{option or 'plots'}: expected the library matplotlib, found none; pip install 'cals[train]'"
            + (f", or leave --{option} out" if option else "")
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def check_plot(path: Path, option: str = "plot") -> None:
    """Raise ConfigError where a plot could not be drawn to `path`; call it before any work."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{option}: expected a name ending in .png, found {path.name}; rename it")
    load_pyplot(option)


@contextmanager
def open_figure(
    path: Path, rows: int = 1, columns: int = 1, *, size_in: tuple[float, float], dpi: int, **options: Any
) -> Iterator[Any]:
    """Open a grid of axes [rows columns] to draw on, which is written to `path` as PNG at the end.

    `size_in` is width and height in inches; `options` go to `pyplot.subplots`.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(rows, columns, figsize=size_in, squeeze=False, **options)
    try:
        yield axes
        figure.tight_layout()
        figure.savefig(path, dpi=dpi, format="png")
    finally:
        pyplot.close(figure)


def draw_panels(path: Path, panels: Sequence[Sequence[Panel]]) -> None:
    """Draw a grid of panels, row by row, as PNG; rows may be of different lengths."""
    columns = max(map(len, panels))
    size_in = (6.2 * columns, 4.2 * len(panels))
    with open_figure(path, len(panels), columns, size_in=size_in, dpi=110) as axes:
        for row, of_row in zip(axes, panels, strict=True):
            for axis, panel in zip(row, of_row, strict=False):
                _draw_panel(axis, panel)
            for axis in row[len(of_row) :]:
                axis.set_visible(False)


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
