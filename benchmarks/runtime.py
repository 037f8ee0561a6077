"""Compare the runtimes of a model: processor time of its networks and of a whole video, one after another in turns.

Export the model first: `cals models export grid-small --to onnx`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from cals import LipSync, hub
from cals.features.mel import compute_log_mel
from cals.media.audio import load_mono

EXAMPLES = Path(__file__).parents[1] / "examples"


def measure_cpu_s(function: Callable[[], object]) -> float:
    """Measure the processor time of a call, of all threads, which a busy machine changes less than wall time."""
    start = time.process_time()
    function()
    return time.process_time() - start


def run_networks(lips: LipSync) -> None:
    """Run front-end and Audio-to-Lip on 10 s of speech."""
    network = lips.model.network
    wav = np.resize(load_mono(EXAMPLES / "speech.wav", 16_000), 160_000)
    network.compute_units(compute_log_mel(network.convert(wav[None]), network.mel)[0])


def run_video(lips: LipSync) -> None:
    """Generate the example video."""
    with tempfile.TemporaryDirectory() as folder:
        lips.generate(EXAMPLES / "grid-s20.mp4", EXAMPLES / "speech.wav", Path(folder) / "out.mp4", length="video")


def main() -> None:
    """Print a table of medians, and their ratios to torch's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=hub.DEFAULT_MODEL, help="for torch")
    parser.add_argument("--exported", default=hub.DEFAULT_MODEL, help="for the others: a name, or an exported folder")
    parser.add_argument("--runtimes", nargs="+", default=["torch", "onnxruntime", "openvino"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    lips = {
        name: LipSync(options.model if name == "torch" else options.exported, runtime=name) for name in options.runtimes
    }
    print(f"{'':24}" + "".join(f"{name:>24}" for name in lips))
    for label, run in (("units of 10 s", run_networks), ("video of 3 s", run_video)):
        times: dict[str, list[float]] = {name: [] for name in lips}
        for number in range(options.rounds + 1):
            for name, one in lips.items():
                seconds = measure_cpu_s(lambda run=run, one=one: run(one))
                if number:  # the first round warms up
                    times[name].append(seconds)
        first = median(times[next(iter(times))])
        cells = [f"{median(values):.3f} s, x{median(values) / first:.2f}" for values in times.values()]
        print(f"{label:24}" + "".join(f"{cell:>24}" for cell in cells))


if __name__ == "__main__":
    main()
