"""Steps a second and peak memory of `cals train`, preset by preset, each in a process of its own.

Run: python benchmarks/train.py CORPUS [--splits FILE] [--sync DIR] [--a2l DIR] [--presets ...] [--accelerator auto]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from cals import hub
from cals.training import presets, run
from cals.training.loop import RunOptions
from cals.training.systems import SYSTEMS

STEPS = 16
"""The first half warms up."""
SHIPPED = Path(hub.__file__).parent / "weights" / hub.DEFAULT_MODEL
STAGES: dict[str, tuple[dict[str, Any], Any]] = {
    "sync": (presets.SYNC, run.train_sync),
    "a2l": (presets.A2L, run.train_a2l),
    "l2f": (presets.L2F, run.train_l2f),
    "reader": (presets.READER, run.train_reader),
    "avsr": (presets.AVSR, run.train_avsr),
}
AUDIO_TO_LIP = {system.l2f: system.a2l for system in SYSTEMS["small"].values() if system.a2l}
"""Which Audio-to-Lip a Lip-to-Face starts from, by preset."""
DEFAULT = (
    "sync-grid-small",
    "a2l-grid-small",
    "a2l-grid-mel",
    "l2f-grid-small",
    "l2f-grid-wav2lip",
    "l2f-grid-ablation",
    "l2f-grid-synctalkface",
    "l2f-grid-small-pcavs",
    "l2f-grid-small-audio2head",
    "reader-grid-small",
    "avsr-grid-small",
)


def measure(options: argparse.Namespace, name: str) -> dict[str, float]:
    """Train one preset for `STEPS` steps in this process: seconds a step and peak memory in MB."""
    stage = name.partition("-")[0]
    registry, train = STAGES[stage]
    whole = registry[name]
    registry[name] = replace(whole, train=replace(whole.train, steps=STEPS, validate_every=STEPS))
    times: list[float] = []
    corpus = run.Corpus(folder=options.corpus, splits=options.splits)
    with tempfile.TemporaryDirectory() as place:
        parents = [options.sync] if stage in ("a2l", "l2f") else []
        if stage == "l2f":
            a2l = AUDIO_TO_LIP.get(name)
            parents.append(a2l and (options.a2l or train_briefly(a2l, corpus, options, Path(place) / "a2l")))
        run_options = RunOptions(run=Path(place) / "run", accelerator=options.accelerator)
        train(name, corpus, *parents, run_options, lambda *_: times.append(time.monotonic()))
    step_s = statistics.median(after - before for before, after in pairwise(times[STEPS // 2 : -1]))
    memory = {"memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if torch.cuda.is_available():
        memory["gpu_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return {"step_s": step_s} | memory


def train_briefly(name: str, corpus: run.Corpus, options: argparse.Namespace, place: Path) -> Path:
    """Train Audio-to-Lip for one step, for a stage that starts from it; returns its checkpoint."""
    config = presets.A2L[name]
    config = replace(config, train=replace(config.train, steps=1))
    run.train_a2l_stage(config, corpus, options.sync, RunOptions(run=place, accelerator=options.accelerator))
    return place / "model"


def main() -> None:
    """Print a table, a row a preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--splits", type=Path)
    parser.add_argument("--sync", type=Path, default=SHIPPED / "sync")
    parser.add_argument("--a2l", type=Path, help="a trained Audio-to-Lip for the l2f presets of CALS, else one is made")
    parser.add_argument("--presets", nargs="+", default=DEFAULT)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options, options.only)))
        return
    print("| preset | steps a second | peak memory, MB | of the GPU |\n|---|---|---|---|", flush=True)
    for name in options.presets:
        done = subprocess.run([*sys.orig_argv, "--only", name], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"| {name} | failed | | |", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        gpu = f"{found['gpu_mb']:.0f}" if "gpu_mb" in found else ""
        print(f"| {name} | {1 / found['step_s']:.2f} | {found['memory_mb']:.0f} | {gpu} |", flush=True)


if __name__ == "__main__":
    main()
