"""Plot of a `SyncScorer` result."""

from pathlib import Path
from typing import Any

from cals.inference.score import SyncResult
from cals.metrics.offset import MAX_OFFSET
from cals.report.plots import open_figure

_LINE, _MARK, _GREY = "#2a6f97", "#c8553d", "#888888"


def draw_result(result: SyncResult, title: str, path: Path) -> None:
    """Write a PNG with the mean distance per shift, and the offset over time where the video is long enough."""
    panels = 2 if result.stretches else 1
    with open_figure(path, panels, size_in=(8, 3.4 * panels), dpi=100) as axes:
        _draw_distances(axes[0, 0], result, title)
        if result.stretches:
            _draw_offsets(axes[1, 0], result)


def _draw_distances(axis: Any, result: SyncResult, title: str) -> None:
    best = result.offset_frames
    axis.plot(range(-MAX_OFFSET, MAX_OFFSET + 1), result.total.distances, color=_LINE)
    axis.axhline(result.lse_d + result.lse_c, color=_GREY, linestyle=":", label="median")
    axis.plot(best, result.lse_d, "o", color=_MARK, label=f"{best} frames ({result.offset_ms:.0f} ms)")
    axis.set_xlabel("the sound lies so many frames of 1/25 s later" if result.fps == 25 else "shift, frames")
    axis.set_ylabel("mean distance")
    axis.set_title(f"{title}: LSE-D {result.lse_d:.3f}, LSE-C {result.lse_c:.3f}")
    axis.legend()


def _draw_offsets(axis: Any, result: SyncResult) -> None:
    times = [stretch.middle_s for stretch in result.stretches]
    axis.axhline(0, color=_GREY, linewidth=0.8)
    axis.plot(times, [stretch.offset_frames for stretch in result.stretches], ".-", color=_MARK, label="offset")
    axis.set_ylim(-MAX_OFFSET - 1, MAX_OFFSET + 1)
    axis.set_xlabel("seconds (middle of a stretch of 4 s)")
    axis.set_ylabel("offset, frames")
    confidence_axis = axis.twinx()
    confidence_axis.plot(times, [stretch.lse_c for stretch in result.stretches], color=_LINE, alpha=0.5)
    confidence_axis.set_ylim(bottom=0)
    confidence_axis.set_ylabel("LSE-C", color=_LINE)
