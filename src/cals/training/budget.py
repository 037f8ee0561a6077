"""Budgets of time: the number of steps that a run takes in given minutes on this machine."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from cals.errors import ConfigError
from cals.files import replace_atomically
from cals.training.loop import RunOptions
from cals.types import ProgressCallback

PROBE_STEPS = 24
"""Number of steps of a timed run; the first half is warm-up."""


def estimate_steps(
    minutes: float, accelerator: str, train_briefly: Callable[[RunOptions, ProgressCallback], object]
) -> int:
    """Estimate how many steps fit into these minutes; `train_briefly` trains for `PROBE_STEPS` steps."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        options = RunOptions(run=Path(place) / "run", accelerator=accelerator)
        train_briefly(options, lambda *_: times.append(time.monotonic()))
    # Without the last step, which includes validation.
    steps_s = [after - before for before, after in pairwise(times[PROBE_STEPS // 2 : -1])]
    return max(1, int(60 * minutes / statistics.median(steps_s)))


def load_or_create_plan(place: Path, facts: dict[str, Any], plan: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of `plan` for these facts: read from the JSON file `place`, or computed and written there.

    Raises ConfigError where the file has other facts.
    """
    if place.is_file():
        stored = json.loads(place.read_text(encoding="utf-8"))
        changed = [name for name, value in facts.items() if stored.get(name) != value]
        if changed:
            raise ConfigError(
                f"{place.parent}: expected runs of the same {', '.join(changed)}, found others; name another --out"
            )
        return {name: value for name, value in stored.items() if name not in facts}
    result = plan()
    place.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(place) as partial:
        partial.write_text(json.dumps(facts | result, indent=1) + "\n", encoding="utf-8")
    return result
