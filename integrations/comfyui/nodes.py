"""Lip-sync as ComfyUI nodes: a model, pictures with a sound, and a video file with a sound."""

import tempfile
import wave
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from cals import ConfigError, GenerateOptions, LipSync, available_models
from cals.options import STRENGTH_RANGE, LengthPolicy, SilencePolicy

CATEGORY = "cals"
Audio = dict[str, Any]
"""ComfyUI's AUDIO: `waveform` [b channels n] in -1..1, and `sample_rate`."""
Inputs = dict[str, dict[str, Any]]
_DEFAULT = GenerateOptions()


class LoadModel:
    """Node that loads a lip-sync model."""

    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES, RETURN_NAMES = ("CALS_MODEL",), ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, a name of ComfyUI
        """Return the model's name, and a folder that replaces it."""
        return {
            "required": {"name": (list(available_models()),)},
            "optional": {
                "folder": ("STRING", {"default": "", "tooltip": "A checkpoint folder, in place of the name"}),
                "device": ("STRING", {"default": "cpu"}),
            },
        }

    def load(self, name: str, folder: str = "", device: str = "cpu") -> tuple[LipSync]:
        """Load the model."""
        return (LipSync(folder or name, device=device),)


def _build_inputs(**required: tuple[Any, ...]) -> Inputs:
    """Build a node's inputs: those given, then how mouths move."""
    low, high = STRENGTH_RANGE
    return {
        "required": {"model": ("CALS_MODEL",), **required},
        "optional": {
            "strength": ("FLOAT", {"default": _DEFAULT.strength, "min": low, "max": high, "step": 0.05}),
            "person": ("STRING", {"default": str(_DEFAULT.person), "tooltip": "largest, left, right, 2 or x,y@s"}),
            "silence": (list(get_args(SilencePolicy)), {"default": _DEFAULT.silence}),
        },
    }


class LipSyncImages:
    """Node that makes the face in a sequence of pictures say a sound; pixels outside the mouth's region stay."""

    CATEGORY, FUNCTION = CATEGORY, "generate"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE", "STRING"), ("images", "report")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, a name of ComfyUI
        """Return pictures, sound and their rate, then how mouths move."""
        fps = ("FLOAT", {"default": 25.0, "min": 1.0, "max": 240.0, "step": 0.001})
        return _build_inputs(images=("IMAGE",), audio=("AUDIO",), fps=fps)

    def generate(
        self,
        model: LipSync,
        images: torch.Tensor,
        audio: Audio,
        fps: float,
        strength: float = _DEFAULT.strength,
        person: str = str(_DEFAULT.person),
        silence: SilencePolicy = _DEFAULT.silence,
    ) -> tuple[torch.Tensor, str]:
        """Return pictures [n h w 3] in 0..1 for `images`, shown at `fps`, and a line about them."""
        samples, rate_hz = _read_audio(audio)
        frames = (images[..., :3].clamp(0, 1) * 255).round().byte().cpu().numpy()
        rate = Fraction(fps).limit_denominator(1001)
        times_s = [Fraction(index) / rate for index in range(len(frames))]
        options = GenerateOptions(strength=strength, person=person, silence=silence)
        report, result, changed = _start_progress(len(frames)), images[..., :3].clone(), 0
        for index, picture in enumerate(model.on_frames(frames, times_s, samples, rate_hz, options)):
            mask = (picture != frames[index]).any(axis=2)
            if mask.any():  # others keep the precision that they came with
                changed += 1
                drawn = torch.from_numpy(picture[mask].astype(np.float32) / 255)
                result[index][torch.from_numpy(mask)] = drawn.to(result)
            report(index + 1)
        name = f"{model.model.name} ({model.model.fingerprint})"
        return result, f"{name}: {changed} of {len(frames)} pictures have another mouth"


class LipSyncVideo:
    """Node that writes a video file whose face says a sound."""

    CATEGORY, FUNCTION, OUTPUT_NODE = CATEGORY, "generate", True
    RETURN_TYPES, RETURN_NAMES = ("STRING", "STRING"), ("path", "report")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, a name of ComfyUI
        """Return a file with a face, sound and the file to write, then how mouths move."""
        inputs = _build_inputs(
            face=("STRING", {"default": "face.mp4", "tooltip": "A video or photo, in ComfyUI's input folder"}),
            audio=("AUDIO",),
            out=("STRING", {"default": "cals.mp4", "tooltip": "The video to write, in ComfyUI's output folder"}),
        )
        inputs["optional"]["length"] = (list(get_args(LengthPolicy)), {"default": _DEFAULT.length})
        return inputs

    @classmethod
    def IS_CHANGED(cls, face: str, **others: Any) -> str:  # noqa: N802, a name of ComfyUI
        """Return what changes with the face's file; ComfyUI sees to the other inputs itself."""
        path = locate_file("input", face)
        return f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" if path.is_file() else "none"

    @classmethod
    def VALIDATE_INPUTS(cls, face: str) -> bool | str:  # noqa: N802, a name of ComfyUI
        """Return True, or what is wrong with the face's file."""
        path = locate_file("input", face)
        return path.is_file() or f"face: expected a video or photo, found no file {path}; copy it there"

    def generate(
        self,
        model: LipSync,
        face: str,
        audio: Audio,
        out: str,
        strength: float = _DEFAULT.strength,
        person: str = str(_DEFAULT.person),
        silence: SilencePolicy = _DEFAULT.silence,
        length: LengthPolicy = _DEFAULT.length,
    ) -> dict[str, Any]:
        """Write the video, an older one of that name replaced, and return its path and a line about it."""
        options = GenerateOptions(strength=strength, person=person, silence=silence, length=length)
        path = locate_file("output", out)
        with tempfile.TemporaryDirectory() as folder:
            sound = Path(folder) / "speech.wav"
            _write_wave(sound, *_read_audio(audio))
            bars: dict[int, Callable[[int], None]] = {}

            def show(done: int, total: int | None) -> None:
                if total:
                    bars.setdefault(total, _start_progress(total))(min(done, total))

            result = model.generate(locate_file("input", face), sound, path, options, force=True, progress=show)
        return {"ui": {"text": [str(path)]}, "result": (str(path), result.line())}


def locate_file(kind: str, name: str) -> Path:
    """Return the path of a file in ComfyUI's folder `input` or `output`.

    ConfigError for a path that leads out of it: workflows are passed on, and must not reach other files.
    """
    try:
        folder = Path(getattr(import_module("folder_paths"), f"get_{kind}_directory")())
    except ImportError:  # outside of ComfyUI
        folder = Path.cwd()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ConfigError(f"{kind}: expected a file in {folder}, found {name}; copy it there")
    return path


def _read_audio(audio: Audio) -> tuple[np.ndarray, int]:
    """Return the sound [channels n] of the first of a batch, and its rate."""
    waveform = audio["waveform"]
    if waveform.ndim != 3 or not waveform.numel():
        raise ConfigError(f"audio: expected a waveform [batch channels n], found {list(waveform.shape)}")
    return waveform[0].detach().cpu().float().numpy(), int(audio["sample_rate"])


def _write_wave(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.rint(samples.T.clip(-1, 1) * 32767).astype("<i2").tobytes())


def _start_progress(total: int) -> Callable[[int], None]:
    """Return a function that shows progress in ComfyUI, and does nothing outside of it."""
    try:
        bar = import_module("comfy.utils").ProgressBar(total)
    except ImportError:
        return lambda done: None
    return lambda done: bar.update_absolute(done, total)


NODE_CLASS_MAPPINGS = {"CalsLoadModel": LoadModel, "CalsLipSyncImages": LipSyncImages, "CalsLipSyncVideo": LipSyncVideo}
NODE_DISPLAY_NAME_MAPPINGS = {
    "CalsLoadModel": "Load model (cals)",
    "CalsLipSyncImages": "Lip-sync (images)",
    "CalsLipSyncVideo": "Lip-sync video",
}
