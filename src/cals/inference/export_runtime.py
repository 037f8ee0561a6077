"""Exported models, run without torch: networks in ONNX Runtime or OpenVINO, geometry in NumPy."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cals import hub
from cals.checkpoint import RESAVE_HINT, config_from_dict
from cals.errors import CheckpointError, ConfigError
from cals.features.mel import MelConfig
from cals.inference.runtime import NamedModel
from cals.inference.speech_activity import State
from cals.models.geometry import MeshGeometry
from cals.models.network import HeadPolicy
from cals.types import F32

FORMAT = 2
CONFIG, MESH = "export.json", "mesh.safetensors"
UNITS, MOTION, SPEECH = "units", "motion", "speech"
"""Names of the networks."""
SUFFIXES = {"onnxruntime": (".onnx",), "openvino": (".xml", ".onnx")}
"""Kinds of files that each runtime reads, the first that is there."""
MESH_ARRAYS = ("template", "basis", "identity", "triangles", "upper")
DECODER_ARRAYS = ("opening_px", "appearance_basis")
Network = Callable[..., list[F32]]
"""A network from arrays to arrays."""


@dataclass(frozen=True, kw_only=True)
class SpeechConfig:
    """Sizes of the detector of speech."""

    sample_rate_hz: int
    window: int
    context: int
    width: int
    """Width of its memory."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What is known of an exported model."""

    name: str
    fingerprint: str
    """That of the model that was exported."""
    mel: MelConfig
    crop_px: int
    speech: SpeechConfig


class ExportedMesh(MeshGeometry):
    """The mesh in NumPy arrays."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.template, self.basis, self.identity, self.triangles, self.upper = (arrays[name] for name in MESH_ARRAYS)


class ExportedDecoder:
    """The network that predicts motion and appearance, and the mesh that it moves."""

    def __init__(self, network: Network, arrays: dict[str, NDArray[Any]]) -> None:
        self.mesh = ExportedMesh(arrays)
        self.opening_px, self.appearance_basis = (arrays[name] for name in DECODER_ARRAYS)
        self._network = network

    def predict_motion(self, units: F32) -> F32:
        """Predict motion [t k] from units [t d]."""
        return self.predict(units)[0]

    def predict(self, units: F32) -> tuple[F32, F32]:
        """Predict motion [t k] and appearance [t j] from units [t d]."""
        motion, appearance = self._network(units)
        return motion, appearance


class ExportedLips:
    """A mesh model whose networks run in another runtime than torch."""

    head_policy: HeadPolicy = "kept"

    def __init__(self, config: ExportConfig, network: Network, decoder: ExportedDecoder) -> None:
        self.mel, self.crop_px = config.mel, config.crop_px
        self._network, self._decoder = network, decoder

    def convert(self, values: F32) -> F32:
        """Return the array itself."""
        return values

    def compute_units(self, mel: F32) -> F32:
        """Compute units [t d] of log-mel [m f]."""
        units: F32 = self._network(mel[None])[0][0]
        return units

    def build_decoder(self) -> ExportedDecoder:
        """Return the decoder."""
        return self._decoder


class ExportedSpeechDetector:
    """Silero VAD in another runtime than torch."""

    def __init__(self, config: SpeechConfig, network: Network) -> None:
        self.config, self._network = config, network

    def detect(self, samples: F32, state: State | None) -> tuple[F32, State]:
        """Compute probabilities [t] of samples [context + t window] and the state for the samples that follow."""
        context, window = self.config.context, self.config.window
        zeros = np.zeros((1, self.config.width), np.float32)
        hidden, cell = state or (zeros, zeros)
        probabilities = []
        for start in range(0, len(samples) - context, window):
            probability, hidden, cell = self._network(samples[start : start + context + window], hidden, cell)
            probabilities.append(probability)
        return np.concatenate(probabilities), (hidden, cell)


def locate_export(name: str, to: Literal["onnx", "openvino"]) -> Path:
    """Return the folder in the cache of a registered model's export, whether it exists or not."""
    return hub.get_cache_dir() / "exported" / f"{name}-{to}"


def open_export(
    model: str | Path, runtime: Literal["onnxruntime", "openvino"]
) -> tuple[NamedModel, ExportedSpeechDetector]:
    """Open an exported model by its folder, or by the name of a registered one whose export is in the cache."""
    folder = _find_folder(str(model), runtime)
    try:
        document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        arrays = load_file(folder / MESH)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: expected an exported model, found {error}; export it anew") from error
    found = document.pop("format", None) if isinstance(document, dict) else None
    if found != FORMAT or not {*MESH_ARRAYS, *DECODER_ARRAYS} <= arrays.keys():
        raise CheckpointError(f"{folder}: expected an export of format {FORMAT}, found {found!r}; {RESAVE_HINT}")
    config = config_from_dict(ExportConfig, document)
    units, motion, speech = (open_network(folder, name, runtime) for name in (UNITS, MOTION, SPEECH))
    lips = ExportedLips(config, units, ExportedDecoder(motion, arrays))
    return NamedModel(config.name, config.fingerprint, lips), ExportedSpeechDetector(config.speech, speech)


def _find_folder(model: str, runtime: str) -> Path:
    folders = [locate_export(model, "onnx")] if model in hub.MODELS else [Path(model)]
    if model in hub.MODELS and runtime == "openvino":
        folders.insert(0, locate_export(model, "openvino"))
    for folder in folders:
        if (folder / CONFIG).is_file():
            return folder
    raise CheckpointError(
        f"{model}: expected a model exported for {runtime}, found none in {folders[0]}; run `cals models export "
        f"{model if model in hub.MODELS else hub.DEFAULT_MODEL} --to onnx` where torch is installed, and copy or name "
        "the folder that it prints"
    )


def open_network(folder: Path, name: str, runtime: Literal["onnxruntime", "openvino"]) -> Network:
    """Open one of the networks of an exported model; it may be called from several threads at once."""
    path = next((path for suffix in SUFFIXES[runtime] if (path := folder / f"{name}{suffix}").is_file()), None)
    if path is None:
        raise CheckpointError(
            f"{folder}: expected {name}{SUFFIXES[runtime][0]} for {runtime}, found none; export the model for it"
        )
    try:
        return _open_with_onnxruntime(path) if runtime == "onnxruntime" else _open_with_openvino(path)
    except ImportError as error:
        package = {"onnxruntime": "cals[onnx]", "openvino": "cals[openvino]"}[runtime]
        raise ConfigError(f"runtime: expected {runtime} to be installed, found {error}; install {package}") from error


def _open_with_onnxruntime(path: Path) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # its threads wait by spinning, for more processor time than so small networks take
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no other base
        raise CheckpointError(f"{path}: expected a whole network, found {error}; export the model anew") from error
    names = [item.name for item in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def _open_with_openvino(path: Path) -> Network:
    import openvino

    core = openvino.Core()
    try:
        # by itself it computes in bfloat16 where the processor is fast at that
        compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise CheckpointError(f"{path}: expected a whole network, found {error}; export the model anew") from error
    return lambda *arrays: list(compiled.create_infer_request().infer(list(arrays)).to_tuple())
