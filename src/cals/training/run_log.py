"""The log of a run directory: JSON lines, TensorBoard and plots."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.tensorboard import TensorBoardLogger

from cals.files import replace_atomically
from cals.report.plots import open_figure


class RunLog:
    """The log of a run: `log.jsonl` (a resumed run appends), `tensorboard/` and `curves.png` in its directory."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self._path = run / "log.jsonl"
        self._curves = run / "curves.png"
        self._plotted_s = time.monotonic()
        self._tensorboard = TensorBoardLogger(run, name="tensorboard", version="")

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Write one line of `kind`: train, validation, advice, start or restart."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step} | values) + "\n")
        numbers = {f"{kind}/{name}": value for name, value in values.items() if isinstance(value, float)}
        if numbers:
            self._tensorboard.log_metrics(numbers, step)

    def truncate(self, step: int) -> None:
        """Remove the lines after `step`: a resumed run repeats those steps."""
        lines = [line for line, entry in self._iterate_entries() if entry["step"] <= step]
        with replace_atomically(self._path) as partial:
            partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def _iterate_entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Iterate over lines and parsed entries; an incomplete line of a killed process is skipped."""
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):
                    yield line, json.loads(line)

    def plot_curves(self, *, every_s: float = 0.0) -> None:
        """Plot every logged number over the steps, training and validation together.

        A plot takes seconds, so there is none within `every_s` of the run's start or of the last one.
        """
        if time.monotonic() - self._plotted_s < every_s:
            return
        self._plotted_s = time.monotonic()
        curves: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
        for _, entry in self._iterate_entries():
            if entry["kind"] in ("train", "validation"):
                for name, value in entry.items():
                    if isinstance(value, float):
                        curves[name][entry["kind"]].append((entry["step"], value))
        if not curves:
            return
        columns = min(3, len(curves))
        rows = -(-len(curves) // columns)
        with open_figure(self._curves, rows, columns, size_in=(5 * columns, 3.2 * rows), dpi=90) as axes:
            for axis, (name, kinds) in zip(axes.flat, sorted(curves.items()), strict=False):
                for kind, points in sorted(kinds.items()):
                    axis.plot(*zip(*points, strict=True), label=kind)
                axis.set_title(name)
                axis.legend()
            for axis in axes.flat[len(curves) :]:
                axis.axis("off")

    def close(self) -> None:
        """Flush TensorBoard's buffer."""
        self._tensorboard.finalize("success")
