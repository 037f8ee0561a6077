"""What a GPU changes: speed of `generate` and of training on processor and GPU, x264 and NVENC, and whether both agree.

    python benchmarks/gpu.py [--seconds 10] [--sizes 1280x720 1920x1080] [--corpus DIR] [--out gpu.json]

Under ten minutes with a GPU. Without one it says so, and measures the processor alone. Every row runs in a process of
its own, twice, of which the second run counts. Without a prepared corpus, training is measured on drawn people.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from cals import LipSync, hub
from cals.data.synthetic.corpus import SyntheticConfig, generate_corpus
from cals.features.mel import compute_log_mel
from cals.inference.load import load_model
from cals.media.audio import load_mono
from cals.media.encoding import list_encoders
from scenes import SPEECH, write_scene

RATE = Fraction(25)
PRESETS = ("a2l-grid-small", "l2f-grid-small")
QUIET_SHARE = 4
"""One in so many rows from the top is compared with the source: there the encoder alone changes pixels."""
Row = dict[str, Any]


def measure_video(video: Path, out: Path, device: str, codec: str) -> Row:
    """Generate a video twice and measure the second run."""
    lips = LipSync(hub.DEFAULT_MODEL, device=device)
    memory: list[int] = []

    def watch_memory(*_: int) -> None:
        if device == "cuda":
            free, total = torch.cuda.mem_get_info()
            memory.append(total - free)

    for _ in range(2):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        report = lips.generate(
            video, SPEECH, out, length="video", codec=codec, force=True, provenance=False, progress=watch_memory
        )
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    row = {"frames_per_s": report.frames / wall_s, "cpu_ms_a_frame": 1000 * cpu_s / report.frames}
    row |= {"psnr_db": compare_top(video, out), "mbit_per_s": 8e-6 * out.stat().st_size * RATE / report.frames}
    if memory:
        row["torch_mb"], row["device_mb"] = torch.cuda.max_memory_allocated() / 2**20, max(memory) / 2**20
    return {name: float(value) for name, value in row.items()}


def compare_top(before: Path, after: Path) -> float:
    """PSNR of the luma of the uppermost rows, which no mouth reaches, in dB."""
    errors = []
    with av.open(str(before)) as source, av.open(str(after)) as output:
        for real, coded in zip(source.decode(video=0), output.decode(video=0), strict=True):
            rows = real.height // QUIET_SHARE
            luma = [frame.to_ndarray()[:rows].astype(np.float32) for frame in (real, coded)]
            errors.append(np.square(luma[0] - luma[1]).mean())
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9)))


def compare_motion() -> Row:
    """Motion of one speech on both devices: correlation, and the largest difference in standard deviations."""
    motions = []
    for device in ("cpu", "cuda"):
        network = load_model(hub.DEFAULT_MODEL).network.to(device)
        wav = load_mono(SPEECH, network.mel.timing.sample_rate_hz)
        units = network.compute_units(compute_log_mel(network.convert(wav[None]), network.mel)[0])
        with torch.inference_mode():
            motions.append(network.build_decoder().predict_motion(units).numpy().ravel())
    return {
        "correlation": float(np.corrcoef(motions)[0, 1]),
        "largest": float(np.abs(motions[0] - motions[1]).max() / motions[0].std()),
    }


def run_json(*command: str) -> Row:
    """Run a command of this Python, and parse the last line of its output; empty where it failed."""
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=False)
    return {} if done.returncode else dict(json.loads(done.stdout.splitlines()[-1]))


def measure_videos(options: argparse.Namespace, devices: list[str], codecs: list[str], folder: Path) -> list[Row]:
    """A row for each size, device and encoder."""
    rows = []
    for size in options.sizes:
        video = folder / f"{size}.mp4"
        write_scene(video, *map(int, size.split("x")), options.seconds, RATE)
        for device in devices:
            for codec in codecs:
                measured = run_json(__file__, "--only", str(video), str(folder / "out.mp4"), device, codec)
                rows.append({"size": size, "device": device, "encoder": codec} | measured)
    return rows


def measure_training(options: argparse.Namespace, devices: list[str], folder: Path) -> list[Row]:
    """A row for each preset and device, by `train.py`."""
    corpus, splits = options.corpus, options.splits
    if corpus is None:
        corpus = folder / "corpus"
        generate_corpus(corpus, SyntheticConfig(clips=12, speakers=3, seconds=3.0))
        splits = corpus / "splits.json"
    train = [str(Path(__file__).with_name("train.py")), str(corpus), *(("--splits", str(splits)) if splits else ())]
    rows = []
    for preset in options.presets:
        for device in devices:
            measured = run_json(*train, "--accelerator", device, "--only", preset)
            steps = {"steps_per_s": 1 / measured["step_s"]} if measured else {}
            rows.append({"preset": preset, "device": device} | steps | measured)
    return rows


def print_table(rows: list[Row]) -> None:
    """Print rows as markdown; a row without figures failed."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        cells = [row.get(name, "-") for name in columns]
        print("| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")
    sys.stdout.flush()


def main() -> None:
    """Print the tables and write all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--sizes", nargs="+", default=["1280x720", "1920x1080"])
    parser.add_argument("--presets", nargs="*", default=PRESETS)
    parser.add_argument("--corpus", type=Path, help="a prepared corpus; drawn people without")
    parser.add_argument("--splits", type=Path)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--only", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        video, out, device, codec = options.only
        print(json.dumps(measure_video(Path(video), Path(out), device, codec)))
        return
    start = time.monotonic()
    has_gpu, has_nvenc = torch.cuda.is_available(), list_encoders()["h264_nvenc"]
    devices, codecs = ["cpu", *["cuda"] * has_gpu], ["h264", *["h264_nvenc"] * has_nvenc]
    facts: Row = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name() if has_gpu else None}
    facts |= {"nvenc": has_nvenc, "threads": torch.get_num_threads(), "seconds": options.seconds}
    print(f"GPU: {facts['gpu'] or 'none, so the processor alone is measured'}; NVENC: {'yes' if has_nvenc else 'no'}")
    with tempfile.TemporaryDirectory() as folder:
        result: Row = {"facts": facts, "generate": measure_videos(options, devices, codecs, Path(folder))}
        print_table(result["generate"])
        if has_gpu:
            result["motion"] = compare_motion()
            print_table([result["motion"]])
        if options.presets:
            result["training"] = measure_training(options, devices, Path(folder))
            print_table(result["training"])
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\n{options.out}: written after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
