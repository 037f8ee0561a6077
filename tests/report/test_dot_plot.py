"""Dots, means and the goal of a plot are where their values are."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from cals.metrics.bootstrap import estimate_mean
from cals.report.dot_plot import Dots, render_dot_plot


def test_plots_have_a_dot_a_clip_at_its_place() -> None:
    values = (20.0, 25.0, 30.0)
    rows = {
        "a": Dots(values, estimate_mean(np.array(values))),
        "one": Dots((40.0,), estimate_mean(np.array([40.0]))),
        "none": Dots((), estimate_mean(np.array([]))),
    }
    tree = ElementTree.fromstring(render_dot_plot(rows, 'A "plot"', best=math.inf, digits=2))
    assert tree.get("aria-label") == 'A "plot"'
    dots = [float(dot.get("cx", "")) for dot in tree if dot.get("class") == "clip"]
    means = [float(dot.get("cx", "")) for dot in tree if dot.get("class") == "mean"]
    assert len(dots) == 4
    assert dots[1] - dots[0] == pytest.approx(dots[2] - dots[1], abs=0.11)
    assert means == pytest.approx([dots[1], dots[3]], abs=0.11)
    assert 0 < min(dots) < max(dots) < 460


@pytest.mark.parametrize(("best", "goals"), [(1.0, 1), (5.0, 0), (math.inf, 0), (math.nan, 0)])
def test_a_goal_is_drawn_where_it_is_among_the_values(best: float, goals: int) -> None:
    rows = {"a": Dots((0.5, 1.5), estimate_mean(np.array([0.5, 1.5])))}
    tree = ElementTree.fromstring(render_dot_plot(rows, "a plot", best=best, digits=2))
    assert sum(line.get("class") == "goal" for line in tree) == goals
