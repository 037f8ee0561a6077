"""What runs a model's networks: torch, or where it is not installed ONNX Runtime or OpenVINO."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from cals.errors import ConfigError
from cals.inference.speech_activity import SpeechNetwork, load_speech_detector
from cals.options import Precision, Runtime


@dataclass(frozen=True)
class NamedModel:
    """A model, and its name in reports and provenance."""

    name: str
    fingerprint: str
    """First 12 hex digits of the weights' sha256."""
    network: Any
    """A `LipNetwork`; torch's are `LipModel`s too."""


def open_model(
    model: str | Path | NamedModel, runtime: Runtime, device: str, precision: Precision
) -> tuple[NamedModel, SpeechNetwork]:
    """Open a model, and the detector of speech beside it, in a runtime; only `torch` imports torch.

    ConfigError for a device or a precision that the runtime does not have, CheckpointError for a model that is not
    there.
    """
    if runtime not in get_args(Runtime):
        raise ConfigError(f"runtime: expected one of {', '.join(get_args(Runtime))}, found {runtime!r}")
    if runtime == "torch":
        from cals.inference.load import LoadedModel, load_model, place_model

        if isinstance(model, NamedModel) and not isinstance(model, LoadedModel):
            raise ConfigError(f"model: expected one loaded for torch, found {model.name} of another runtime")
        loaded = model if isinstance(model, LoadedModel) else load_model(model)
        place_model(loaded, device, precision)
        return loaded, load_speech_detector()
    from cals.inference.export_runtime import open_export

    if isinstance(model, NamedModel):
        raise ConfigError(f"model: expected a name or a folder for {runtime}, found {model.name}, which is loaded")
    if device != "cpu" or precision == "bf16":
        raise ConfigError(
            f"runtime: expected device cpu and precision fp32 for {runtime}, found {device} and {precision}; use torch"
        )
    return open_export(model, runtime)
