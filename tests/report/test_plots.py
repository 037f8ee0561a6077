"""Plots have what they are given, and say at once what keeps them from being drawn."""

from pathlib import Path

import cv2
import pytest

from cals.errors import ConfigError
from cals.metrics.bootstrap import Estimate
from cals.report.plots import Panel, check_plot, draw_panels, load_pyplot, open_figure


def draw(path: Path, *rows: list[Panel]) -> tuple[int, int]:
    draw_panels(path, rows)
    height, width = cv2.imread(str(path)).shape[:2]
    return height, width


def test_a_grid_of_panels_has_a_cell_each(tmp_path: Path) -> None:
    panel = Panel(title="t", x_label="x", y_label="y", lines={"a": ([1.0, 2.0], [Estimate(0.1, 0.0, 0.2)] * 2)})
    height, width = draw(tmp_path / "one.png", [panel])
    assert draw(tmp_path / "grid.png", [panel, panel], [panel]) == (2 * height, 2 * width)


def test_a_figure_is_closed_and_not_written_after_an_error(tmp_path: Path) -> None:
    before = load_pyplot().get_fignums()
    with pytest.raises(ZeroDivisionError), open_figure(tmp_path / "a.png", size_in=(2, 1), dpi=50) as axes:
        axes[0, 0].plot([0, 1 / 0])
    assert not (tmp_path / "a.png").exists()
    assert load_pyplot().get_fignums() == before


def test_a_plot_that_cannot_be_drawn_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"scores: expected a name ending in \.png, found a\.jpg"):
        check_plot(tmp_path / "a.jpg", "scores")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="scores: .* or leave --scores out"):
        check_plot(tmp_path / "a.png", "scores")
    with pytest.raises(ConfigError, match=r"plots: .*'cals\[train\]'$"):
        load_pyplot()
