"""A small phonetic front-end, and a config of Audio-to-Lip with it."""

import dataclasses
from pathlib import Path

import torch

from cals.checkpoint import Checkpoint, save_checkpoint
from cals.models.a2l import A2LConfig
from cals.models.whisper import KIND, WhisperConfig, list_weight_shapes

SMALL = WhisperConfig(layers=1, width=8, heads=2, hidden=16, positions=300)
HEARING = A2LConfig(whisper=SMALL, unit=16, width=16, layers=1, heads=2, hidden=32)


def save_front(folder: Path, seed: int = 0, config: WhisperConfig = SMALL) -> Path:
    """Save a front-end with random weights from `seed`."""
    rng = torch.Generator().manual_seed(seed)
    weights = {
        name: (0.2 * torch.randn(shape, generator=rng)).half() for name, shape in list_weight_shapes(config).items()
    }
    save_checkpoint(folder, Checkpoint(kind=KIND, config=dataclasses.asdict(config), weights=weights))
    return folder
