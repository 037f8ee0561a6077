"""A recogniser with random weights, for tests of the code around it."""

from dataclasses import replace
from pathlib import Path

import torch

from cals.checkpoint import save_checkpoint
from cals.models.avsr.checkpoint import avsr_to_checkpoint
from cals.models.avsr.config import Streams
from cals.models.avsr.language import fit_ngram
from cals.models.avsr.network import AVSR
from cals.models.whisper import WhisperConfig
from cals.training.presets import AVSR as PRESETS


def save_recognizer(
    folder: Path, *, streams: Streams = "both", scoring: bool = True, whisper: WhisperConfig | None = None
) -> Path:
    """Save a network of `avsr-debug` with random weights and these streams."""
    torch.manual_seed(0)
    config = replace(PRESETS["avsr-debug"].model, streams=streams, scoring=scoring, whisper=whisper)
    language = fit_ngram([config.tokens.encode("bin blue at f two now")], 2, config.tokens.size)
    save_checkpoint(folder, avsr_to_checkpoint(AVSR(config), language))
    return folder
