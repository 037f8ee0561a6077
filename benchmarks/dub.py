"""A long talk of two people, dubbed in one command from subtitles and a folder of voices: time, memory, drift.

    python benchmarks/dub.py [--minutes 10] [--out FOLDER]

The talk is the example with two people, played back and forth, and scaled to 1280 x 640. Each has a voice of 1.7 s
every 4 s. Drift is how far each voice is from its place in the finished file, found by correlation;
pictures are compared by the times of their frames. Memory is the peak of the command's process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from cals.media.source import VideoSource
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions

EXAMPLE = Path(__file__).parents[1] / "examples" / "dub"
RATE_HZ = 16_000
TURN_S = 4.0


def write_talk(path: Path, seconds: float) -> None:
    """Write the example's two people for `seconds`."""
    source = VideoSource(EXAMPLE / "two-people.mp4")
    with source.open() as reader:
        pictures = [frame.picture.reformat(width=1280, height=640) for frame in reader]
    like = replace(source.format, width=1280, height=640)
    with VideoWriter(path, like, encode=EncodeOptions(preset="ultrafast")) as writer:
        with VideoReader(EXAMPLE / "two-people.mp4") as reader:
            frames = list(reader)
        order = cycle([*range(len(frames)), *range(len(frames) - 2, 0, -1)])
        for index, number in enumerate(islice(order, round(seconds * 25))):
            frame = type(frames[0])(pictures[number], index, Fraction(index, 25), Fraction(1, 25))
            writer.write(frame)


def write_segments(path: Path, seconds: float) -> list[tuple[float, int]]:
    """Write who speaks when; return start and number of the voice of each."""
    starts = [(turn * TURN_S + 0.5 * (turn * 0.618 % 1), 1 + turn % 2) for turn in range(int(seconds / TURN_S))]
    segments = [
        {"start": round(start, 3), "end": round(start + 2, 3), "audio": f"{voice}.wav", "person": voice}
        for start, voice in starts
    ]
    path.write_text(json.dumps(segments), encoding="utf-8")
    return [(float(segment["start"]), int(str(segment["person"]))) for segment in segments]


def measure_drift_ms(out: Path, starts: list[tuple[float, int]]) -> list[float]:
    """Measure how late each voice is in the file."""
    heard = load_mono(out, RATE_HZ)
    voices = {number: load_mono(EXAMPLE / "voices" / f"{number}.wav", RATE_HZ) for number in (1, 2)}
    late = []
    for start_s, number in starts:
        voice, first = voices[number], round(start_s * RATE_HZ) - 800
        window = np.pad(heard[max(first, 0) : first + len(voice) + 1600], (max(-first, 0), 0))
        late.append((int(np.correlate(window, voice, mode="valid").argmax()) - 800) * 1000 / RATE_HZ)
    return late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        talk, segments, out = folder / "talk.mp4", folder / "segments.json", folder / "dubbed.mp4"
        write_talk(talk, 60 * arguments.minutes)
        starts = write_segments(segments, 60 * arguments.minutes)
        command = ["--face", talk, "--segments", segments, "--audio-dir", EXAMPLE / "voices", "--out", out, "--force"]
        start_s = time.monotonic()
        subprocess.run([sys.executable, "-m", "cals", "generate", *map(str, command)], check=True)
        wall_s = time.monotonic() - start_s
        memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        late = measure_drift_ms(out, starts)
        with VideoReader(talk) as one, VideoReader(out) as other:
            same_times = all(a.time_s == b.time_s for a, b in zip(one, other, strict=True))
        print("\n| minutes | segments | seconds | frames/s | MB | voices late, ms | times of frames |\n|" + "---|" * 7)
        print(
            f"| {arguments.minutes:g} | {len(starts)} | {wall_s:.0f} | {1500 * arguments.minutes / wall_s:.1f} | "
            f"{memory_mb:.0f} | {min(late):.2f} to {max(late):.2f} | {'equal' if same_times else 'DIFFERENT'} |"
        )


if __name__ == "__main__":
    main()
