"""Whether `LipSync.stream` keeps up with a microphone, as a markdown table: delay of frames, frames/s and memory.

    python benchmarks/live.py [VIDEO] [--size 1280x720] [--minutes 2] [--model grid-small]

Without a VIDEO one of a drifting photo is made, else VIDEO is enlarged. Twice the same speech, repeated: first in
chunks of 20 ms at the times at which a microphone gives them, then all at once. A frame's delay counts from the moment
at which its own sound begins: half a second of sound after it, then what it takes to render. Needs Linux.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cals import LipSync, hub
from cals.media import load_mono
from memory import read_memory_mb
from scenes import SPEECH, enlarge_scene, write_scene

RATE_HZ, CHUNK = 16_000, 320
SCENE_S = 20


def iterate_chunks(minutes: float, start_s: float | None) -> Iterator[npt.NDArray[np.float32]]:
    """Yield chunks of the example's speech; as a microphone that was switched on at `start_s` would, or at once."""
    speech = load_mono(SPEECH, RATE_HZ)
    chunks = cycle([speech[first : first + CHUNK] for first in range(0, len(speech) - CHUNK + 1, CHUNK)])
    for count in range(1, round(60 * minutes * RATE_HZ / CHUNK) + 1):
        if start_s is not None:
            time.sleep(max(0.0, start_s + count * CHUNK / RATE_HZ - time.monotonic()))
        yield next(chunks)


def measure(lips: LipSync, video: Path, minutes: float, *, live: bool) -> str:
    """Stream once; return the cells of its row."""
    delays: list[float] = []
    memory_mb: list[float] = []
    start_s = 0.0

    def listen() -> Iterator[npt.NDArray[np.float32]]:
        nonlocal start_s
        start_s = time.monotonic()  # the look-ahead is over: now somebody begins to speak
        yield from iterate_chunks(minutes, start_s if live else None)

    frames = lips.stream(video, listen(), RATE_HZ)
    processor_s = time.process_time()
    for lip_frame in frames:
        delays.append(time.monotonic() - start_s - float(lip_frame.frame.time_s))
        if len(delays) % 250 == 0:
            memory_mb.append(read_memory_mb()[0])
    wall_s, processor_s = time.monotonic() - start_s, time.process_time() - processor_s
    cells = [f"{len(delays) / wall_s:.1f}", f"{1000 * processor_s / len(delays):.1f}"]
    late = [f"{value:.2f}" for value in np.percentile(delays, (50, 95, 100))] if live else ["", "", ""]
    return " | ".join([*cells, *late, f"{memory_mb[0]:.0f}, {memory_mb[-1]:.0f}" if memory_mb else ""])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--model", default=hub.DEFAULT_MODEL)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--minutes", type=float, default=2)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.mp4"
        if options.video is None:
            write_scene(scene, width, height, SCENE_S)
        else:
            enlarge_scene(options.video, scene, width, height, SCENE_S, Fraction(25))
        lips = LipSync(options.model)
        print(
            "| sound | frames/s | processor, ms a frame | delay: median, s | 95 % | worst | MB after 10 s, at the end |"
        )
        print("|---|---|---|---|---|---|---|")
        for name, live in (("from a microphone", True), ("all at once", False)):
            print(f"| {name} | {measure(lips, scene, options.minutes, live=live)} |", flush=True)


if __name__ == "__main__":
    main()
