"""Plot of word error rates against the strength of the corruption."""

from collections.abc import Sequence
from pathlib import Path

from cals.evaluation.recognition.conditions import ANY, Condition
from cals.evaluation.recognition.report import WerReport
from cals.evaluation.recognition.scores import PartScores
from cals.evaluation.studies.common import ALL
from cals.metrics.bootstrap import Estimate
from cals.report.plots import Panel, draw_panels

COLUMNS = 4
_AXIS_LABELS = {
    "patch": "size of the patch, px of 96",
    "noise": "deviation, share of white",
    "blur": "deviation, share of side",
}


def draw_rates(path: Path, report: WerReport) -> None:
    """Draw a panel per kind of corruption and part of the splits, with a line per system."""
    curves = list(report.curves.values())
    parts = [part for part in report.parts if part.part != ALL or len(report.parts) == 1]
    panels = [
        [_build_panel(report, part, group) for group in curves[first : first + COLUMNS]]
        for part in parts
        for first in range(0, len(curves), COLUMNS)
    ]
    draw_panels(path, panels)


def _build_panel(report: WerReport, part: PartScores, group: Sequence[Condition]) -> Panel:
    kind, strengths = group[0].kind, [float(one.strength or 0.0) for one in group]
    lines = {
        system.name: (strengths, [_format_percent(part.rate(one.name, system.name)) for one in group])
        for system in report.systems
    }
    title = f"{part.part}, {group[0].streams}: {'all kinds' if kind == ANY else kind}"
    across = _AXIS_LABELS.get(kind, "signal-to-noise ratio, dB")
    return Panel(title=title, x_label=across, y_label="word error rate, %", lines=lines)


def _format_percent(share: Estimate) -> Estimate:
    return Estimate(*(None if value is None else 100 * value for value in share))  # type: ignore[arg-type]
