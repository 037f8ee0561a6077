"""What `--cache` saves: a second speech of a video with and without the faces of the first, as a markdown table.

    python benchmarks/cache.py [VIDEO ...] [--size 1280x720] [--seconds 24] [--rounds 2] [--threads 1]

Rows take turns in one process, and the least of `--rounds` times counts; ratios are to the run without a cache. Without
a VIDEO one of a drifting photo is made. The two outputs have to be the same, byte for byte; exit 1 where they are not.
`taskset -c 0` measures on one core.
"""

import argparse
import logging
import sys
import tempfile
import time
import wave
from pathlib import Path

import torch

from cals.inference.lipsync import LipSync
from scenes import SPEECH, write_scene


def repeat_speech(path: Path, seconds: float) -> None:
    """Write the example's speech over and over, `seconds` of it."""
    with wave.open(str(SPEECH)) as speech:
        settings, data = speech.getparams(), speech.readframes(speech.getnframes())
    size = round(seconds * settings.framerate) * settings.sampwidth * settings.nchannels
    with wave.open(str(path), "w") as file:
        file.setparams(settings)
        file.writeframes((data * (size // len(data) + 1))[:size])


def measure(lips: LipSync, video: Path, speech: Path, out: Path) -> tuple[float, float, int]:
    """Generate once; return the seconds of a clock and of processors, and the number of frames."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    frames = lips.generate(video, speech, out, length="video", force=True, provenance=False).frames
    return time.perf_counter() - wall_s, time.process_time() - cpu_s, frames


def compare(video: Path, folder: Path, options: argparse.Namespace) -> bool:
    """Print the rows of one video; return whether the outputs are the same."""
    speech, first = folder / "speech.wav", folder / "first.wav"
    repeat_speech(speech, options.seconds)
    repeat_speech(first, options.seconds / 2)
    cache = folder / f"cache-{video.stem}"
    ways = {"without": LipSync(options.model), "with": LipSync(options.model, cache=cache)}
    first_cost = measure(ways["with"], video, first, folder / "first.mp4")
    best = dict.fromkeys(ways, (float("inf"), float("inf"), 0))
    for _ in range(options.rounds):
        for name, lips in ways.items():
            cost = measure(lips, video, speech, folder / f"{name}.mp4")
            best[name] = (min(best[name][0], cost[0]), min(best[name][1], cost[1]), cost[2])
    size_mb = sum(path.stat().st_size for path in cache.iterdir()) / 2**20
    rows = {"without": best["without"], "first, recording": first_cost, "second, with the cache": best["with"]}
    for name, (wall_s, cpu_s, frames) in rows.items():
        ratios = (best["without"][0] / wall_s, best["without"][1] / cpu_s)
        figures = (1000 * wall_s / frames, 1000 * cpu_s / frames, *ratios)
        print(
            f"| {video.name} | {frames} | {name} | " + " | ".join(f"{x:.2f}" for x in figures) + f" | {size_mb:.0f} |"
        )
    sys.stdout.flush()
    return (folder / "with.mp4").read_bytes() == (folder / "without.mp4").read_bytes()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--model", default="grid-small")
    parser.add_argument("--size", default="1280x720", help="of the made video")
    parser.add_argument("--seconds", type=float, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.videos:
            options.videos = [folder / f"{options.size}.mp4"]
            write_scene(options.videos[0], *map(int, options.size.split("x")), options.seconds)
        print("| video | frames | run | ms a frame | processor ms a frame | times faster | by processor | cache MB |")
        print("|---|---|---|---|---|---|---|---|")
        same = [compare(video, folder, options) for video in options.videos]
    if not all(same):
        sys.exit("the outputs differ")


if __name__ == "__main__":
    main()
