"""Equal time instead of equal steps: how many steps a run takes in so many minutes on this machine."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from cals.errors import ConfigError
from cals.files import replacing
from cals.training.loop import RunOptions
from cals.types import ProgressCallback

PROBE_STEPS = 24
"""How long a run is timed; the first half is warming up."""


def steps_within(
    minutes: float, accelerator: str, train_briefly: Callable[[RunOptions, ProgressCallback], object]
) -> int:
    """As many steps as fit into so many minutes here and now; `train_briefly` trains for `PROBE_STEPS` steps."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        options = RunOptions(run=Path(place) / "run", accelerator=accelerator)
        train_briefly(options, lambda *_: times.append(time.monotonic()))
    # Not the last one, in which it validates.
    steps_s = [after - before for before, after in pairwise(times[PROBE_STEPS // 2 : -1])]
    return max(1, int(60 * minutes / statistics.median(steps_s)))


def keep_plan(place: Path, facts: dict[str, Any], plan: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `plan` found when it was first asked with these facts, from the JSON file `place`, or now, written there.

    Raises ConfigError where the file has other facts.
    """
    if place.is_file():
        kept = json.loads(place.read_text(encoding="utf-8"))
        other = [name for name, value in facts.items() if kept.get(name) != value]
        if other:
            raise ConfigError(
                f"{place.parent}: expected runs of the same {', '.join(other)}, found others; name another --out"
            )
        return {name: value for name, value in kept.items() if name not in facts}
    made = plan()
    place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as partial:
        partial.write_text(json.dumps(facts | made, indent=1) + "\n", encoding="utf-8")
    return made
