"""CALS: make a face speak.

`import cals` is light: torch is loaded when a model is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cals.errors import CalsError, CheckpointError, ConfigError, DataError, MediaError, NoFaceError

if TYPE_CHECKING:
    from cals.inference.lipsync import LipSync
    from cals.inference.load import available_models, load_model
    from cals.inference.score import SyncScorer
    from cals.inference.transcribe import Transcriber
    from cals.options import EncodeOptions, GenerateOptions, Latency, ProvenanceOptions

__version__ = "0.1.0"
__all__ = [
    "CalsError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "EncodeOptions",
    "GenerateOptions",
    "Latency",
    "LipSync",
    "MediaError",
    "NoFaceError",
    "ProvenanceOptions",
    "SyncScorer",
    "Transcriber",
    "available_models",
    "load_model",
]

_LAZY = {
    "EncodeOptions": "cals.options",
    "GenerateOptions": "cals.options",
    "Latency": "cals.options",
    "LipSync": "cals.inference.lipsync",
    "ProvenanceOptions": "cals.options",
    "SyncScorer": "cals.inference.score",
    "Transcriber": "cals.inference.transcribe",
    "available_models": "cals.inference.load",
    "load_model": "cals.inference.load",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'cals' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
