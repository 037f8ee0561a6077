"""Options shared by `cals ablation` and `cals compare`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """What networks are trained against, what they are scored on, and where."""

    videos: Path
    """The folder with the videos the corpus was made from, to score on."""
    splits: Path
    """JSON file with the clip names of `train`, `val_seen` and `val_unseen`."""
    sync: Path
    """Checkpoint folder of the sync encoders: the expert of all sync losses."""
    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    """Parts of the splits to score."""
    face_models: Path | None = None
    """Folder with the two face networks, for machines without a network."""
    accelerator: str = "auto"
    """Device to train on: cpu, cuda, mps, or auto."""
    device: str = "cpu"
    """Where the models run to be scored, as torch names it."""
