"""What `cals generate` takes as a whole, as a markdown table; beside another version of it too.

    python benchmarks/generate.py [--sizes 640x360 1280x720] [--seconds 8] [--rounds 3] [--against OTHER/src]

Every run is in a process of its own, so that its peak memory is its own, and all versions take turns; times are
medians over the rounds, without the start of Python and the loading of the model. The look-ahead over the first 20
seconds is included, so its share falls with length. `--against` takes the `src` folder of another commit
(`git worktree add OTHER COMMIT`); the ratio is wall time over that of this version, the median over the rounds.
`stages.py` tells where the time goes. Needs Linux.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from cals import LipSync, hub
from memory import read_memory_mb
from scenes import SPEECH, write_scene

FPS = 25
SOURCE = Path(__file__).parents[1] / "src"


def measure(model: str, video: Path, out: Path) -> dict[str, float]:
    """Generate once; return milliseconds a frame and the peak memory."""
    lips = LipSync(model)
    wall, processor = time.perf_counter(), time.process_time()
    frames = lips.generate(video, SPEECH, out, length="video", force=True, provenance=False).frames
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {"wall": 1000 * wall / frames, "processor": 1000 * processor / frames, "peak MB": read_memory_mb()[1]}


def measure_in_process(source: Path, options: argparse.Namespace, video: Path) -> dict[str, float]:
    """Measure the version whose `src` folder is `source`."""
    command = [
        sys.executable,
        __file__,
        "--model",
        options.model,
        "--worker",
        str(video),
        str(video.parent / "out.mp4"),
    ]
    paths = [str(source.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if (source / "cals" / "cli" / "process.py").exists():  # as its command does; older versions did not
        environment.setdefault("OMP_WAIT_POLICY", "passive")
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    result: dict[str, float] = json.loads(run.stdout)
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=hub.DEFAULT_MODEL)
    parser.add_argument("--sizes", nargs="+", default=["640x360", "1280x720", "1920x1080"])
    parser.add_argument("--seconds", type=int, default=8, help="length of the made videos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="the `src` folder of another version")
    parser.add_argument("--worker", nargs=2, metavar=("IN", "OUT"), type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.model, *options.worker)))
        return
    versions = {"this": SOURCE} | ({} if options.against is None else {"other": options.against})
    print("| size | version | wall, ms a frame | processor, ms | frames/s | x real time | peak MB | ratio |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "scene.mp4"
        for size in options.sizes:
            write_scene(video, *map(int, size.split("x")), options.seconds)
            rounds = [
                {name: measure_in_process(source, options, video) for name, source in versions.items()}
                for _ in range(options.rounds)
            ]
            for name in versions:
                wall, processor, peak_mb = (
                    median(costs[name][key] for costs in rounds) for key in ("wall", "processor", "peak MB")
                )
                ratio = median(costs[name]["wall"] / costs["this"]["wall"] for costs in rounds)
                figures = f"{wall:.1f} | {processor:.1f} | {1000 / wall:.0f} | {1000 / wall / FPS:.2f}"
                print(f"| {size} | {name} | {figures} | {peak_mb:.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
