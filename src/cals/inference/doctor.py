"""What a report of a bug needs: versions, devices, codecs, the state of the models, and a short job as a test."""

import importlib.metadata
import importlib.util
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

import cals
from cals import hub
from cals.checkpoint import load_checkpoint
from cals.data.synthetic.corpus import SyntheticConfig, render_clip, write_video
from cals.errors import CalsError
from cals.inference.lipsync import LipSync
from cals.media.encoding import list_encoders
from cals.nn.precision import is_bf16_fast
from cals.provenance.verify import verify_file

PACKAGES = ("torch", "av", "opencv-python-headless", "numpy", "safetensors", "tyro", "platformdirs", "filelock")
"""Packages that every installation needs."""
EXTRAS = {
    "c2pa": "c2pa",
    "fast": "ai_edge_litert",
    "train": "lightning",
    "voices": "pyworld",
    "heic": "pillow_heif",
    "phones": "pocketsphinx",
    "ray": "ray",
    "web": "gradio",
    "serve": "fastapi",
    "onnx": "onnxruntime",
}
"""Extra -> the module that tells whether it is installed."""
SELF_TEST_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    name: str
    found: str
    is_good: bool = True
    """False for what keeps cals from working."""

    def line(self) -> str:
        """Return the finding as a line of text."""
        return f"{'ok  ' if self.is_good else 'FAIL'} {self.name:<22} {self.found}"


def examine(*, self_test: bool = True) -> Iterator[Finding]:
    """Yield the findings one after the other; none of them has a path, a name of the user or of the computer."""
    yield Finding(name="cals", found=cals.__version__)
    yield Finding(name="python", found=f"{platform.python_implementation()} {platform.python_version()}")
    yield Finding(name="system", found=f"{platform.system()} {platform.release()} {platform.machine()}")
    for package in PACKAGES:
        yield _examine_package(package)
    found = [name for name, module in EXTRAS.items() if importlib.util.find_spec(module) is not None]
    yield Finding(name="extras", found=" ".join(found) or "none")
    yield from _examine_devices()
    for codec, is_there in list_encoders().items():
        # h264 is what nearly all outputs need
        yield Finding(name=f"codec {codec}", found="yes" if is_there else "no", is_good=is_there or codec != "h264")
    yield from _examine_models()
    if self_test:
        yield _check("self-test", run_self_test)


def _examine_package(package: str) -> Finding:
    try:
        return Finding(name=package, found=importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        # another build of the same package, such as opencv-python, may serve
        return Finding(name=package, found="not installed under this name")


def _examine_devices() -> Iterator[Finding]:
    cpu = torch.device("cpu")
    precision = "bf16" if is_bf16_fast(cpu) else "fp32"
    yield Finding(
        name="cpu", found=f"{os.cpu_count()} processors, {torch.get_num_threads()} threads, {precision} by default"
    )
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding(name=f"cuda:{index}", found=f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Finding(name="mps", found="yes")


def _examine_models() -> Iterator[Finding]:
    shipped = {name: entry.folder for name, entry in (hub.MODELS | hub.RECOGNIZERS).items() if entry.folder is not None}
    shipped |= {folder.name: folder for folder in (hub.FRONT_END_WEIGHTS, hub.SPEECH_DETECTOR_WEIGHTS)}
    for name, folder in shipped.items():
        yield _check(f"model {name}", partial(_describe_weights, folder))
    for item in hub.FACE_FILES:
        is_there = hub.is_intact(item)
        yield Finding(name=item.name, found="intact" if is_there else "not fetched yet: `cals models download`")


def _describe_weights(folder: Path) -> str:
    return f"intact, {len(load_checkpoint(folder).weights)} arrays"


def _check(name: str, examine_it: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, found=examine_it())
    except (CalsError, OSError, RuntimeError) as error:
        return Finding(name=name, found=" ".join(str(error).split()), is_good=False)


def run_self_test(model: str = hub.DEFAULT_MODEL) -> str:
    """Draw a talking head, generate its mouth anew from its own speech, and verify the file; RuntimeError if not so."""
    with tempfile.TemporaryDirectory() as folder:
        face, out = Path(folder) / "drawn.mp4", Path(folder) / "generated.mp4"
        render_clip(
            SyntheticConfig(clips=1, speakers=1, seconds=SELF_TEST_S),
            0,
            lambda frames, wav: write_video(face, frames, wav),
        )
        report = LipSync(model).generate(face, face, out)
        signature = verify_file(out).state if report.signed else "not signed"
    if report.generated < report.frames * 0.9 or signature == "changed":
        raise RuntimeError(f"expected mouths in all {report.frames} frames, found {report.line()}; {signature}")
    return f"{report.line()}; manifest: {signature}"
