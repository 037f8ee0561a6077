"""Compare the runtimes of a model: start-up, a whole video and the networks alone, one after another in turns.

Export the model first: `cals models export grid-small --to onnx`, and with `--quantize --out FOLDER` for `--quantized`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from cals import hub

EXAMPLES = Path(__file__).parents[1] / "examples"
START = "import sys; from cals import LipSync; LipSync(sys.argv[1], runtime=sys.argv[2])"


class Cost(NamedTuple):
    """What a run takes, of all its threads; processor time changes less on a busy machine than wall time."""

    cpu_s: float
    wall_s: float
    peak_mb: float = 0.0


def measure_process(arguments: list[str]) -> Cost:
    """Measure a process of Python from its start to its end."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"expected {arguments} to succeed, found exit status {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024)


def measure_start(model: str, runtime: str) -> Cost:
    """Measure a process that loads the model and ends."""
    return measure_process(["-c", START, model, runtime])


def measure_video(model: str, runtime: str) -> Cost:
    """Measure `cals generate` on the example of 3 s."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["-m", "cals", "generate", "--face", EXAMPLES / "grid-s20.mp4", "--audio", EXAMPLES / "speech.wav"]
        arguments += ["--out", Path(folder) / "out.mp4", "--length", "video", "--model", model, "--runtime", runtime]
        return measure_process([str(part) for part in arguments])


def build_units_measure() -> Callable[[str, str], Cost]:
    """Build the measure of front-end and Audio-to-Lip on 10 s of speech, which loads each model once."""
    from cals import LipSync
    from cals.features.mel import compute_log_mel
    from cals.media.audio import load_mono

    wav = np.resize(load_mono(EXAMPLES / "speech.wav", 16_000), 160_000)
    networks: dict[tuple[str, str], Any] = {}

    def measure_units(model: str, runtime: str) -> Cost:
        if (model, runtime) not in networks:
            networks[model, runtime] = LipSync(model, runtime=runtime).model.network
        network = networks[model, runtime]
        start, start_cpu = time.perf_counter(), time.process_time()
        network.compute_units(compute_log_mel(network.convert(wav[None]), network.mel)[0])
        return Cost(time.process_time() - start_cpu, time.perf_counter() - start)

    return measure_units


def main() -> None:
    """Print a table of medians; ratios are to the first runtime, median of the rounds'."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=hub.DEFAULT_MODEL, help="for torch")
    parser.add_argument("--exported", default=hub.DEFAULT_MODEL, help="for the others: a name, or an exported folder")
    parser.add_argument("--quantized", help="a folder exported with --quantize, for onnxruntime once more")
    parser.add_argument("--runtimes", nargs="+", default=["torch", "onnxruntime", "openvino"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    systems = {name: (options.model if name == "torch" else options.exported, name) for name in options.runtimes}
    if options.quantized:
        systems["onnxruntime int8"] = (options.quantized, "onnxruntime")
    print("| | runtime | processor time | ratio | wall time | ratio | peak MB |\n|---|---|---|---|---|---|---|")
    # processes first: the peak of one counts what this one held when it started it
    for label, build in (
        ("start and model", lambda: measure_start),
        ("video of 3 s", lambda: measure_video),
        ("units of 10 s", build_units_measure),
    ):
        measure, costs = build(), {name: list[Cost]() for name in systems}
        for number in range(options.rounds + 1):
            for name, system in systems.items():
                cost = measure(*system)
                if number:  # the first round warms up
                    costs[name].append(cost)
        first = next(iter(costs.values()))
        for name, values in costs.items():
            cpu_s, wall_s, peak_mb = (median(column) for column in zip(*values, strict=True))
            cpu, wall = (
                median(value[i] / other[i] for value, other in zip(values, first, strict=True)) for i in (0, 1)
            )
            peak = f"{peak_mb:.0f}" if peak_mb else ""
            print(
                f"| {label} | {name} | {cpu_s:.3f} s | {cpu:.2f} | {wall_s:.3f} s | {wall:.2f} | {peak} |", flush=True
            )


if __name__ == "__main__":
    main()
