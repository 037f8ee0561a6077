"""Export of a model's networks from torch, for ONNX Runtime and OpenVINO; what it writes runs without torch."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from cals.arrays import to_numpy
from cals.errors import CheckpointError, ConfigError
from cals.files import describe_os_error, replace_folder_atomically
from cals.inference.export_runtime import (
    CONFIG,
    DECODER_ARRAYS,
    FORMAT,
    MESH,
    MESH_ARRAYS,
    MOTION,
    SPEECH,
    UNITS,
    ExportConfig,
    SpeechConfig,
    locate_export,
)
from cals.inference.load import LoadedModel, load_model
from cals.inference.speech_activity import load_speech_detector
from cals.models.cals import MeshLips
from cals.models.speech_detector import SpeechDetector

Target = Literal["onnx", "openvino"]
_LONGEST_S = 30
"""Most seconds of sound that the front-end takes at once."""
_MANY = 1 << 20
"""More units than are ever run at once."""


class _Units(nn.Module):
    def __init__(self, lips: MeshLips) -> None:
        super().__init__()
        self.lips = lips

    def forward(self, mel: Tensor) -> Tensor:
        return self.lips.predict_units(mel)


class _Motion(nn.Module):
    def __init__(self, lips: MeshLips) -> None:
        super().__init__()
        self.decoder = lips.decoder

    def forward(self, units: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.predict(units)


class _Speech(nn.Module):
    def __init__(self, detector: SpeechDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, samples: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probabilities, (hidden, cell) = self.detector(samples, (hidden, cell))
        return probabilities, hidden, cell


def export_model(
    model: str | Path, to: Target, out: Path | None = None, *, quantize: bool = False, force: bool = False
) -> Path:
    """Write the networks of a mesh model, and the detector of speech, to the folder `out`, and return it.

    Without `out` it is the folder of the cache in which `--runtime` finds the model by name. `quantize` writes the
    matrices of front-end and Audio-to-Lip, 21 of 23 MB, in int8. Raises ConfigError for other models and where the
    exporter is not installed, CheckpointError where the folder cannot be written.
    """
    if quantize and to != "onnx":
        raise ConfigError(f"export: expected to be quantised for onnx, found {to}, which is slower so; leave it out")
    loaded = load_model(model)
    if not isinstance(loaded.network, MeshLips):
        raise ConfigError(
            f"export: expected a model that predicts motion, found {loaded.name}, which draws mouths whole; run it in "
            "torch"
        )
    folder = locate_export(loaded.name, to) if out is None else out
    if folder.exists() and not (force and (folder / CONFIG).is_file()):
        raise CheckpointError(f"{folder}: expected a new folder, found one; name another, or --force for an export")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder_atomically(folder) as partial:
            _write_networks(partial, loaded, loaded.network, to)
            if quantize:
                _quantize(partial / f"{UNITS}.onnx")
    except OSError as error:
        raise CheckpointError(
            f"{folder}: expected to write an export, found {describe_os_error(error)}; name another folder"
        ) from error
    return folder


def _write_networks(folder: Path, loaded: LoadedModel, lips: MeshLips, to: Target) -> None:
    detector, timing = load_speech_detector(), lips.mel.timing
    speech, step = detector.config, timing.mels_per_frame
    frames = torch.export.Dim("frames", min=2, max=_LONGEST_S * timing.fps)
    count = torch.export.Dim("count", min=1, max=_MANY)
    mel = torch.full((1, 10 * timing.fps * step, lips.mel.bins), lips.mel.floor_db)
    _write_network(folder / UNITS, _Units(lips), {"mel": mel}, {"mel": {1: step * frames}}, to)
    units = torch.zeros(7, lips.config.a2l.unit)
    _write_network(folder / MOTION, _Motion(lips), {"units": units}, {"units": {0: count}}, to)
    # one window at a time, since the exporter fixes their number; two tensors, since it joins inputs that are one
    inputs = {"samples": torch.zeros(speech.context + speech.window)}
    inputs |= {name: torch.zeros(1, speech.width) for name in ("hidden", "cell")}
    _write_network(folder / SPEECH, _Speech(detector), inputs, None, to)
    arrays = {name: to_numpy(getattr(lips.decoder.mesh, name)).copy() for name in MESH_ARRAYS}
    arrays |= {name: to_numpy(getattr(lips.decoder, name)).copy() for name in DECODER_ARRAYS}
    save_file(arrays, folder / MESH)
    (folder / MESH).chmod(0o644)  # safetensors makes it readable for the owner alone
    config = ExportConfig(
        name=loaded.name,
        fingerprint=loaded.fingerprint,
        mel=lips.mel,
        crop_px=lips.crop_px,
        speech=SpeechConfig(
            sample_rate_hz=speech.sample_rate_hz, window=speech.window, context=speech.context, width=speech.width
        ),
    )
    (folder / CONFIG).write_text(json.dumps({"format": FORMAT} | asdict(config), indent=2) + "\n", encoding="utf-8")


def _write_network(
    path: Path, module: nn.Module, inputs: Mapping[str, Tensor], sizes: dict[str, Any] | None, to: Target
) -> None:
    """Write a network to `path` with the suffix of its format; `sizes` are the dimensions that vary, if any do."""
    onnx = path.with_suffix(".onnx")
    try:
        with _quiet_exporter():
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                str(onnx),
                input_names=list(inputs),
                dynamic_shapes=sizes,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        if to == "openvino":
            import openvino

            openvino.save_model(openvino.convert_model(onnx), path.with_suffix(".xml"), compress_to_fp16=False)
            onnx.unlink()
    except ImportError as error:
        raise ConfigError(f"export: expected its libraries, found {error}; install cals[export]") from error


def _quantize(path: Path) -> None:
    """Round the matrices of an ONNX file to int8, a scale for each output; convolutions are faster in fp32."""
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise ConfigError(
            f"export: expected onnxruntime to quantise with, found {error}; install cals[onnx]"
        ) from error
    with _quiet_exporter():
        quantize_dynamic(path, path, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter, and the quantiser by the root logger, say of their own workings."""
    loggers = {logger: logger.level for logger in map(logging.getLogger, (None, "torch.onnx"))}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
