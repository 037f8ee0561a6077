"""`kill -9` at random moments of `generate`, `prepare` and `train`: nothing half-written, nothing lost.

Each command first runs whole. Then it is started again and again and killed, with the processes it started, after a
random part of the time that took. After each kill its inputs must be untouched, and its output absent or whole;
`prepare` and `train` go on from what was left. In the end the command must succeed, leave no partial file, and give
what the whole run gave: the same pictures, the same shards, the same losses.
Run: python benchmarks/kill.py [--kills 200] [--only generate prepare train]; exit 1 when anything is wrong.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIP, SPEECH = EXAMPLES / "grid-s20.mp4", EXAMPLES / "speech.wav"
CLIPS = 3
STEP_BY_STEP = """
import sys
from dataclasses import replace
from cals.cli import main
from cals.training.presets import SYNC
debug = SYNC["sync-debug"]
SYNC["sync-debug"] = replace(debug, train=replace(debug.train, steps=150, checkpoint_every_s=0.0))
main(sys.argv[1:])
"""
"""`cals train` that saves after every step, so that kills meet saves."""


@dataclass
class Trial:
    """A command, and what it gives."""

    arguments: list[str]
    out: Path
    digest: Callable[[Path], str]
    """Of a whole output; raises when it is not."""
    starts_over: bool = True
    """Whether a killed run is removed before the next one, so that all moments are reached; the others go on."""
    grows: bool = False
    """Whether the output is a folder that is there before it is whole."""


def command(trial: Trial) -> list[str]:
    program = ["-c", STEP_BY_STEP] if trial.arguments[0] == "train" else ["-m", "cals"]
    return [sys.executable, *program, *trial.arguments]


def start(trial: Trial) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(trial), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def run_whole(trial: Trial) -> float:
    begun = time.monotonic()
    done = subprocess.run(command(trial), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(trial.arguments)}: {done.stderr}")
    return time.monotonic() - begun


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def partials(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name.endswith((".partial", ".old"))]


def digest_files(*paths: Path) -> str:
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(file.name.encode() + file.read_bytes())
    return total.hexdigest()


def digest_video(path: Path) -> str:
    total = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            total.update(frame.to_ndarray().tobytes())
    return total.hexdigest()


def digest_shards(folder: Path) -> str:
    if not (folder / "manifest.jsonl").is_file():
        raise FileNotFoundError(folder)
    return digest_files(*sorted(folder.glob("shard-*.tar")), folder / "manifest.jsonl", folder / "summary.json")


def digest_losses(folder: Path) -> str:
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    losses = [entry for entry in entries if entry["kind"] == "train"]
    if not losses or not (folder / "model").is_dir():
        raise FileNotFoundError(folder)
    return json.dumps(losses) + digest_files(folder / "model" / "model.safetensors")


def kill_often(name: str, trial: Trial, inputs: list[Path], kills: int, rng: random.Random) -> list[str]:
    """Kill a command over and over; returns what was wrong."""
    seconds = run_whole(trial)
    expected, before = trial.digest(trial.out), digest_files(*inputs)
    remove(trial.out)
    wrong, finished = [], 0
    for number in range(kills):
        process = start(trial)
        try:
            process.wait(rng.uniform(0.05, 1.0) * seconds)
            finished += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if digest_files(*inputs) != before:
            wrong.append(f"kill {number}: an input changed")
        if process.returncode == 0 or (trial.out.exists() and not trial.grows):
            try:
                if trial.digest(trial.out) != expected:
                    wrong.append(f"kill {number}: another output")
            except Exception as error:  # whatever it is, the output is not whole
                wrong.append(f"kill {number}: half an output: {error!r}")
        elif process.returncode not in (-signal.SIGKILL, 0):
            wrong.append(f"kill {number}: exit {process.returncode}")
        if process.returncode == 0 or trial.starts_over:
            remove(trial.out)
    run_whole(trial)
    if trial.digest(trial.out) != expected:
        wrong.append("the last run: another output")
    wrong += [f"left over: {left}" for left in partials(trial.out.parent)]
    print(f"| {name} | {seconds:.1f} | {kills - finished} | {finished} | {'; '.join(wrong) or 'nothing'} |", flush=True)
    return wrong


def lay_out(folder: Path) -> tuple[dict[str, Trial], list[Path]]:
    """The three commands on small inputs of their own, and those inputs."""
    clips = folder / "clips"
    for number in range(CLIPS):
        (clips / f"s{number}").mkdir(parents=True)
        shutil.copy(CLIP, clips / f"s{number}" / "clip.mp4")
    corpus = folder / "corpus"
    prepare = ["prepare", "folder", str(clips), "--min-correlation", "-1", "--out"]
    subprocess.run([sys.executable, "-m", "cals", *prepare, str(corpus)], check=True, stdout=subprocess.DEVNULL)
    for name in ("generate", "prepare", "train"):
        (folder / name).mkdir()
    video, shards, run = folder / "generate" / "out.mp4", folder / "prepare" / "out", folder / "train" / "run"
    generate = ["generate", "--face", str(CLIP), "--audio", str(SPEECH), "--out", str(video), "--force"]
    train = ["train", "sync", "sync-debug", "--corpus", str(corpus), "--run", str(run), "--accelerator", "cpu"]
    trials = {
        "generate": Trial(generate, video, digest_video),
        "prepare": Trial([*prepare, str(shards)], shards, digest_shards, starts_over=False, grows=True),
        "train": Trial(train, run, digest_losses, starts_over=False, grows=True),
    }
    return trials, [clips, corpus]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=["generate", "prepare", "train"])
    options = parser.parse_args()
    rng, wrong = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as folder:
        trials, inputs = lay_out(Path(folder))
        print("| command | s | killed | came through | wrong |\n|---|---|---|---|---|")
        for name in options.only:
            wrong += kill_often(name, trials[name], [*inputs, CLIP, SPEECH], options.kills // len(options.only), rng)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
