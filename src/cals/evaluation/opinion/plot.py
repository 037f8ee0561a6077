"""Plot of mean opinion scores: a panel a question, a line a method, published values hollow below."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cals.evaluation.opinion.study import QUESTIONS, SCALE
from cals.metrics.bootstrap import Estimate
from cals.report.plots import open_figure


def draw_scores(
    path: Path, means: Mapping[str, Mapping[str, Estimate]], published: Mapping[str, Sequence[float]]
) -> None:
    """Draw the scores as PNG."""
    names = [*means, *published]
    size_in = (12, 1.4 + 0.42 * len(names))
    with open_figure(path, 1, len(QUESTIONS), size_in=size_in, dpi=110, sharey=True) as axes:
        for column, (axis, question) in enumerate(zip(axes[0], QUESTIONS, strict=True)):
            for row, of in enumerate(means.values()):
                _draw_estimate(axis, row, of[question.key])
            for row, values in enumerate(published.values(), start=len(means)):
                axis.plot(values[column], row, "D", color="dimgrey", markerfacecolor="white")
            axis.axhline(len(means) - 0.5, color="lightgrey", linewidth=1)
            axis.set(title=question.title, xlim=(SCALE[0] - 0.1, SCALE[-1] + 0.1), xticks=list(SCALE))
            axis.set(
                ylim=(len(names) - 0.5, -0.5),
                yticks=range(len(names)),
                yticklabels=[name.replace("$", r"\$") for name in names],
            )
            axis.grid(axis="x", alpha=0.3)


def _draw_estimate(axis: Any, row: int, found: Estimate) -> None:
    if found.low is not None and found.high is not None:
        axis.plot([found.low, found.high], [row, row], color="C0", linewidth=3, solid_capstyle="round", alpha=0.5)
    axis.plot(found.value, row, "o", color="C0")
