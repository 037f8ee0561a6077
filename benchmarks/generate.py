"""What the networks cost, as markdown tables: `generate` as a whole, its parts, and ways to run the drawing network.

    python benchmarks/generate.py [--model DIR] [--sizes 640x360 1280x720] [--seconds 8] [--unet] [--threads 1]

Within a table rows take turns and the least of `--rounds` times counts; ratios are to the first row (of that batch).
Every row of the first table runs once, in a process of its own, so that its peak memory is its own. `scan` is a
tracking of the first 20 seconds as the look ahead does it, whose share falls with length; `without` is the rest.
Stages are fp32.
onnxruntime (with onnx and onnxscript) and OpenVINO are tried if installed.
"""

import argparse
import copy
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from cals import hub
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.mask import build_moving_face_mask
from cals.face.tracker import FaceTracker
from cals.face.transfer import collect_outer_lips, transfer_pixels
from cals.features.mel import compute_log_mel
from cals.inference.frame_tracker import FrameTracker, TrackedFrame, track_and_align
from cals.inference.lipsync import LipSync
from cals.inference.load import load_model
from cals.inference.mouth_painter import MouthPainter
from cals.media.reader import VideoReader
from cals.models.cals import MeshLips
from cals.models.mouth import compute_mouth_flow
from cals.models.unet import UNet
from cals.training.presets import L2F
from scenes import SPEECH, write_scene

FPS = 25
TOLERANCE = 1.0
"""Mean difference from fp32 in levels of 255 up to which a variant counts as the same."""
Run = Callable[[], object]


def table(columns: str, rows: list[list[str]]) -> None:
    """Print columns, named with bars in between, and rows as markdown."""
    print(f"\n| {columns} |\n|" + "---|" * (columns.count("|") + 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


def least_ms(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Each one's least time; they take turns, after a round that does not count."""
    best = dict.fromkeys(runs, float("inf"))
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:
                best[name] = min(best[name], 1000 * (time.perf_counter() - start))
    return best


def whole(model: str, video: Path, out: Path, precision: str) -> dict[str, float]:
    """One video through `generate`, after its look ahead alone."""
    lips = LipSync(model, precision=precision)
    start = time.perf_counter()
    tracker = FaceTracker(BlazeFaceMesh(FaceModels(*hub.read_face_models())))
    with VideoReader(video) as reader:
        for _ in FrameTracker(tracker, lips.model.network.crop_px).look_ahead(reader):
            pass
    scan_s = time.perf_counter() - start
    start = time.perf_counter()
    report = lips.generate(video, SPEECH, out, length="video", force=True)
    wall_s = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"frames": report.frames, "scan": scan_s, "all": wall_s, "peak MB": peak_mb}


def whole_table(options: argparse.Namespace, folder: Path) -> None:
    rows: list[list[str]] = []
    first_ms = 0.0
    for size in options.sizes:
        video = folder / f"{size}.mp4"
        write_scene(video, *map(int, size.split("x")), options.seconds)
        for precision in options.precision:
            command = [sys.executable, __file__, "--model", options.model, "--threads", str(options.threads)]
            command += ["--worker", str(video), str(folder / "out.mp4"), precision]
            cost = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            ms, without_ms = (1000 * s / cost["frames"] for s in (cost["all"], cost["all"] - cost["scan"]))
            first_ms = first_ms or ms
            figures = (ms, ms - without_ms, without_ms, 1000 / ms, 1000 / ms / FPS)
            rows.append([size, precision, *(f"{x:.2f}" for x in figures), f"{cost['peak MB']:.0f}"])
            rows[-1].append(f"{ms / first_ms:.2f}")
    table("size | precision | all, ms a frame | scan | without | frames/s | x real time | peak MB | ratio", rows)


def track_faces(video: Path, count: int) -> list[TrackedFrame]:
    """The first frames of a video with a face."""
    tracker = FaceTracker(BlazeFaceMesh(FaceModels(*hub.read_face_models())))
    with VideoReader(video) as reader:
        return list(islice((item for item in track_and_align(reader, tracker, 128) if item.view), count))


def stage_table(network: MeshLips, options: argparse.Namespace, folder: Path) -> None:
    """Print what each part of drawing costs, with a bank of `--bank` mouths."""
    video, count, decoder = folder / "stages.mp4", max(options.batches), network.decoder
    write_scene(video, 640, 360, options.bank / FPS + 1)
    items = track_faces(video, options.bank)
    wav = 0.1 * torch.randn(1, round(16_000 * options.sound_s))
    units = network.predict_units(compute_log_mel(wav, network.mel))[0]
    blocks = [units, *(torch.zeros_like(units) for _ in range(3))]
    painter = MouthPainter(network, iter(blocks), items)
    shown, seen = items[:count], [(item, item.view) for item in items[:count] if item.view]
    bank = painter._bank(0, seen, False)
    landmarks, target = bank.landmarks[:count], bank.landmarks[-count:]
    places = compute_mouth_flow(decoder.mesh, landmarks, target, 128).numpy()
    motion, ahead = painter._motion(bank, seen)
    said = torch.cat([motion, ahead])

    def transfer_all() -> None:
        for (item, view), at, moved in zip(seen, places, target.numpy(), strict=True):
            mask = build_moving_face_mask(view.landmarks, moved, view.transform, *view.frame_px)
            parts = [(bank.sources[0], at, 1.0)]
            transfer_pixels(
                item.frame, view.transform, view.crop, mask, collect_outer_lips(view.landmarks, moved), parts
            )

    frames = len(seen)
    runs: dict[str, tuple[Run, float]] = {
        "patches, all of it": (lambda: painter.paint([(item, 1.0) for item in shown]), frames),
        "- motion": (lambda: painter._motion(bank, seen), frames),
        "- choice of sources": (lambda: painter._choose(bank, seen, landmarks, said), frames),
        "- flow": (lambda: compute_mouth_flow(decoder.mesh, landmarks, target, 128), frames),
        "- mask and transfer": (transfer_all, frames),
        f"mel of {options.sound_s:g} s": (lambda: compute_log_mel(wav, network.mel), FPS * options.sound_s),
        f"A2L of {options.sound_s:g} s": (
            lambda: network.predict_units(compute_log_mel(wav, network.mel)),
            FPS * options.sound_s,
        ),
    }
    times = least_ms({name: run for name, (run, _) in runs.items()}, options.rounds)
    each = {name: times[name] / runs[name][1] for name in runs}
    first = each["patches, all of it"]
    rows = [[name, f"{ms:.3f}", f"{ms / first:.2f}"] for name, ms in each.items()]
    table(f"stage, batch {frames}, {len(bank.sources)} mouths (A2L with its mel) | ms a frame | ratio", rows)


def in_torch(network: nn.Module, inputs: tuple[Tensor, ...], bf16: bool, last: bool) -> Run:
    """The network as torch runs it, in bf16 and with channels last or not."""
    if last:
        network = copy.deepcopy(network).to(memory_format=torch.channels_last)
        inputs = tuple(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs)

    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return network(*inputs)

    return run


def in_onnxruntime(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Run:
    import onnxruntime as ort

    program = torch.onnx.export(network, inputs, dynamo=True, verbose=False)
    limits = ort.SessionOptions()
    limits.intra_op_num_threads = threads
    session = ort.InferenceSession(program.model_proto.SerializeToString(), limits, providers=["CPUExecutionProvider"])
    given = {slot.name: x.numpy() for slot, x in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: torch.from_numpy(session.run(None, given)[0])


def in_openvino(network: nn.Module, inputs: tuple[Tensor, ...], threads: int, precision: str) -> Run:
    import openvino as ov

    model = ov.convert_model(network, example_input=inputs, input=[list(x.shape) for x in inputs])
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled, given = ov.Core().compile_model(model, "CPU", hints), [x.numpy() for x in inputs]
    return lambda: torch.from_numpy(compiled(given)[0])


def variants(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> tuple[dict[str, Run], dict[str, str]]:
    """Every way to run the network on these inputs, and why others cannot be had."""
    makers: dict[str, Callable[[], Run]] = {
        "fp32": lambda: in_torch(network, inputs, bf16=False, last=False),
        "fp32, channels last": lambda: in_torch(network, inputs, bf16=False, last=True),
        "bf16": lambda: in_torch(network, inputs, bf16=True, last=False),
        "bf16, channels last": lambda: in_torch(network, inputs, bf16=True, last=True),
        "onnxruntime fp32": lambda: in_onnxruntime(network, inputs, threads),
        "OpenVINO fp32": lambda: in_openvino(network, inputs, threads, "f32"),
        "OpenVINO bf16": lambda: in_openvino(network, inputs, threads, "bf16"),
    }
    runs, missing = {}, {}
    for name, make in makers.items():
        try:
            runs[name] = make()
        except ImportError:
            missing[name] = "not installed"
        except Exception as error:  # an exporter may fail in any way, and that is a result
            missing[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
    return runs, missing


def variant_table(title: str, network: nn.Module, given: tuple[Tensor, ...], options: argparse.Namespace) -> None:
    rows = []
    for batch in options.batches:
        inputs = tuple(x[:batch].contiguous() for x in given)
        runs, missing = variants(network, inputs, options.threads)
        times, expected = least_ms(runs, options.rounds), network(*inputs)
        for name, run in runs.items():
            levels = 255 * (run().float() - expected).abs()
            agrees = f"{levels.mean():.3f} / {levels.max():.2f}" + (" DIFFERS" if levels.mean() > TOLERANCE else "")
            rows.append([f"{batch}", name, f"{times[name] / batch:.3f}", f"{1000 * batch / times[name]:.0f}", agrees])
            rows[-1].append(f"{times[name] / times['fp32']:.2f}")
        rows += [[f"{batch}", name, why, "", "", ""] for name, why in missing.items()]
    print(f"\n{title}; differences in levels of 255, mean up to {TOLERANCE:g} counts as equal")
    table("batch | run as | ms a frame | frames/s | differs by, mean / most | ratio", rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=hub.DEFAULT_MODEL)
    parser.add_argument("--sizes", nargs="*", default=["640x360", "1280x720", "1920x1080"])
    parser.add_argument("--seconds", type=int, default=8, help="length of the made videos")
    parser.add_argument("--sound-s", type=float, default=10, help="length of the sound for mel and A2L")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 16])
    parser.add_argument("--bank", type=int, default=400, help="mouths to choose from")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--unet", action="store_true", help="also the drawing network of the preset l2f-grid-unet")
    parser.add_argument("--worker", nargs=3, metavar=("IN", "OUT", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        video, out, precision = options.worker
        print(json.dumps(whole(options.model, Path(video), Path(out), precision)))
        return
    warnings.simplefilter("ignore")  # the exporters' own
    logging.disable(logging.WARNING)
    network = load_model(options.model).network
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        if options.sizes:
            whole_table(options, Path(folder))
        if isinstance(network, MeshLips):
            stage_table(network, options, Path(folder))
    if options.unet:
        unet = UNet(L2F["l2f-grid-unet"].decoder).eval()
        batch, px = max(options.batches), unet.config.crop_px
        made = (torch.randn(batch, unet.config.unit), torch.rand(batch, 3, px, px), torch.rand(batch, 3, px, px))
        with torch.no_grad():
            variant_table("UNet of l2f-grid-unet, untrained", unet, made, options)


if __name__ == "__main__":
    main()
