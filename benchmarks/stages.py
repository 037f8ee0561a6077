"""Which stage of `cals generate` takes how much processor time, on one core: what a faster device could save.

    python benchmarks/stages.py [VIDEO] [--heights 720 1080] [--seconds 8]

VIDEO is enlarged to each height, and played forwards and backwards. A stage's time is without that of stages inside.
"""

import argparse
import inspect
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import av
import torch

from cals import LipSync, hub
from cals.inference import mouth_painter
from cals.inference.frame_tracker import FrameTracker
from cals.inference.mouth_bank import MouthBank
from cals.inference.mouth_blend import MouthBlend
from cals.inference.mouth_painter import MouthPainter
from cals.media.decoding import Decoder
from cals.media.frame import Frame
from cals.media.writer import VideoWriter
from cals.models.lips import LipModel
from scenes import SPEECH, enlarge_scene

EXAMPLE = Path(__file__).parents[1] / "examples" / "grid-s20.mp4"
STAGES: dict[str, list[tuple[Any, str]]] = {
    "decoding": [(Decoder, "_decode")],
    "tracking, alignment, masks": [(FrameTracker, "_track_frame"), (FrameTracker, "_recall")],
    "bank of mouths": [(MouthBank, "add"), (MouthBank, "fit")],
    "front-end and Audio-to-Lip (on the device)": [(LipModel, "compute_units")],
    "motion and choice of sources": [(MouthPainter, "_predict"), (MouthPainter, "_choose")],
    "detection in what was drawn": [(MouthBlend, "detect_landmarks")],
    "flow": [(mouth_painter, "compute_flows")],
    "drawing of mouths": [(MouthBlend, "render_patch")],
    "blending into the planes": [(Frame, "with_patch")],
    "encoding": [(VideoWriter, "_encode_frame")],
}


class StageTimer:
    """Processor time by stage, of all threads; the time of a stage within another counts for the inner one alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._local, self._lock = threading.local(), threading.Lock()

    def measure(self, stage: str, function: Callable[[], Any]) -> Any:
        """Call `function` as part of a stage."""
        stack = self._local.__dict__.setdefault("stack", [])
        stack.append(0.0)
        start = time.thread_time()
        try:
            return function()
        finally:
            spent, inner = time.thread_time() - start, stack.pop()
            with self._lock:
                self.seconds[stage] += spent - inner
            if stack:
                stack[-1] += spent

    def wrap(self, stage: str, owner: Any, name: str) -> None:
        """Measure each call of a function, or each step of a generator."""
        inner = getattr(owner, name)

        @wraps(inner)
        def step_through(*args: Any, **kwargs: Any) -> Iterator[Any]:
            items, end = inner(*args, **kwargs), object()
            while (item := self.measure(stage, lambda: next(items, end))) is not end:
                yield item

        @wraps(inner)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.measure(stage, lambda: inner(*args, **kwargs))

        setattr(owner, name, step_through if inspect.isgeneratorfunction(inner) else call)


def main() -> None:
    """Print a table, a row a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", default=EXAMPLE)
    parser.add_argument("--heights", type=int, nargs="+", default=[720, 1080])
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # codecs then work in the threads that are measured
    torch.set_num_threads(1)
    timer, columns = StageTimer(), {}
    for stage, places in STAGES.items():
        for owner, name in places:
            timer.wrap(stage, owner, name)
    lips = LipSync(hub.DEFAULT_MODEL)
    with av.open(str(options.video)) as container:
        shape = container.streams.video[0].width / container.streams.video[0].height
    with tempfile.TemporaryDirectory() as folder:
        video, out = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        for height in options.heights:
            enlarge_scene(options.video, video, 2 * round(height * shape / 2), height, options.seconds)
            timer.seconds.clear()
            start = time.process_time()
            report = lips.generate(video, SPEECH, out, length="video", force=True, provenance=False)
            timer.seconds["everything else"] = time.process_time() - start - sum(timer.seconds.values())
            columns[height] = {stage: 1000 * s / report.frames for stage, s in timer.seconds.items()}
    print("| ms a frame, share |" + "".join(f" {height} rows | |" for height in columns))
    print("|---|" + "---|---|" * len(columns))
    for stage in (*STAGES, "everything else", "all"):
        cells = []
        for column in columns.values():
            ms, total = column.get(stage, 0.0), sum(column.values())
            cells += [f"{total if stage == 'all' else ms:.1f}", f"{1 if stage == 'all' else ms / total:.0%}"]
        print("| " + " | ".join([stage, *cells]) + " |")


if __name__ == "__main__":
    main()
