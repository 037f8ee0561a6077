"""`cals train`: a preset, a prepared corpus and a run directory to a trained network."""

from pathlib import Path

from cals.checkpoint import Checkpoint, config_from_dict, load_checkpoint, weights_sha256
from cals.data.store import ClipStore, split_names
from cals.errors import CheckpointError
from cals.features.mel import MelConfig
from cals.models.sync import SyncConfig, SyncModel
from cals.training.loop import RunOptions, train
from cals.training.presets import A2L, SYNC, preset
from cals.training.stages.a2l import A2LStage
from cals.training.stages.sync import SyncStage
from cals.types import ProgressCallback

HELD_OUT = {"seen": "val_seen", "unseen": "val_unseen"}


def stores(corpus: Path, splits: Path | None, mel: MelConfig) -> tuple[ClipStore, dict[str, ClipStore]]:
    """Training clips and held-out ones by part; without a splits file everything is trained on and nothing held out."""
    if splits is None:
        return ClipStore(corpus, mel), {}
    held_out = {part: ClipStore(corpus, mel, split_names(splits, name)) for part, name in HELD_OUT.items()}
    return ClipStore(corpus, mel, split_names(splits, "train")), held_out


def train_sync(
    name: str, corpus: Path, splits: Path | None, options: RunOptions, progress: ProgressCallback | None = None
) -> dict[str, float]:
    """Train the sync encoders; the network is at `options.run / "model"`."""
    config = preset(SYNC, name)
    return train(SyncStage(config, *stores(corpus, splits, config.model.mel)), options, progress)


def train_a2l(
    name: str,
    corpus: Path,
    splits: Path | None,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Train Audio-to-Lip against the frozen encoders in the checkpoint `sync`."""
    config = preset(A2L, name)
    encoders = load_sync(sync)
    if encoders.config.embedding != config.model.unit or encoders.config.mel != config.model.mel:
        raise CheckpointError(
            f"{sync}: expected sync encoders with embeddings of {config.model.unit} and the preset's mel, "
            f"found {encoders.config.embedding}; train them with the preset of the same size"
        )
    training, held_out = stores(corpus, splits, config.model.mel)
    return train(A2LStage(config, encoders, weights_sha256(sync), training, held_out), options, progress)


def load_sync(folder: Path) -> SyncModel:
    """The sync encoders of a checkpoint, frozen."""
    checkpoint: Checkpoint = load_checkpoint(folder)
    if checkpoint.kind != "sync":
        raise CheckpointError(f"{folder}: expected sync encoders, found a {checkpoint.kind!r} checkpoint")
    model = SyncModel(config_from_dict(SyncConfig, checkpoint.config))
    model.load_state_dict(checkpoint.weights)
    return model.eval().requires_grad_(False)
