"""Plot of a `SyncScorer` result."""

from pathlib import Path
from types import ModuleType

from cals.errors import ConfigError
from cals.inference.score import SyncResult
from cals.metrics.offset import MAX_OFFSET

_LINE, _MARK, _GREY = "#2a6f97", "#c8553d", "#888888"


def check_plot(path: Path, option: str = "plot") -> None:
    """Raise ConfigError where a plot could not be drawn to `path`; call it before any work."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{option}: expected a name ending in .png, found {path.name}; rename it")
    load_pyplot(option)


def load_pyplot(option: str = "plot") -> ModuleType:
    """Return matplotlib's pyplot with a backend that needs no display; ConfigError without matplotlib."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{option}: expected the library matplotlib, found none; pip install matplotlib, or leave --{option} out"
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw_result(result: SyncResult, title: str, path: Path) -> None:
    """Write a PNG with the mean distance per shift, and the offset over time where the video is long enough."""
    pyplot = load_pyplot()
    panels = 2 if result.stretches else 1
    figure, axes = pyplot.subplots(panels, 1, figsize=(8, 3.4 * panels), squeeze=False)
    try:
        shifts = range(-MAX_OFFSET, MAX_OFFSET + 1)
        axis, best = axes[0, 0], result.offset_frames
        axis.plot(shifts, result.total.distances, color=_LINE)
        axis.axhline(result.lse_d + result.lse_c, color=_GREY, linestyle=":", label="median")
        axis.plot(best, result.lse_d, "o", color=_MARK, label=f"{best} frames ({result.offset_ms:.0f} ms)")
        axis.set_xlabel("the sound lies so many frames of 1/25 s later" if result.fps == 25 else "shift, frames")
        axis.set_ylabel("mean distance")
        axis.set_title(f"{title}: LSE-D {result.lse_d:.3f}, LSE-C {result.lse_c:.3f}")
        axis.legend()
        if result.stretches:
            axis = axes[1, 0]
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
        figure.tight_layout()
        figure.savefig(path, dpi=100, format="png")
    finally:
        pyplot.close(figure)
