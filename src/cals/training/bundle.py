"""From a run to a released model: weights in half precision, the sync encoders, and a card to fill in."""

from pathlib import Path

import torch
from torch import Tensor

from cals.checkpoint import Checkpoint, compute_weights_sha256, load_checkpoint
from cals.errors import CheckpointError
from cals.models.avsr.checkpoint import avsr_from_checkpoint
from cals.models.avsr.network import AVSR
from cals.models.factory import build_frozen, find_kind, from_checkpoint
from cals.models.sync import SyncModel
from cals.report.tables import format_table
from cals.training.release import check_output_folder, write_release


def write_bundle(model: Path, out: Path, sync: Path | None = None, *, force: bool = False) -> Path:
    """Check the lip model or recogniser in the folder `model` and write it to `out` in half precision; returns `out`.

    `sync`, the encoders it was trained with, goes to `out/sync`. With `force` a bundle at `out` is replaced, and only
    its card and licence are kept. Raises CheckpointError when a part does not load, the encoders are not the model's,
    or `out` exists and must not be replaced.
    """
    place = out.resolve()
    check_output_folder(place, [model] if sync is None else [model, sync], force=force)
    trained = load_checkpoint(model)
    halved, encoders = _to_half(trained), None
    if trained.kind == find_kind(AVSR):
        avsr_from_checkpoint(halved)
    else:
        from_checkpoint(halved)
    if sync is not None:
        sha256 = compute_weights_sha256(sync)
        if trained.parents.get("sync", sha256) != sha256:
            raise CheckpointError(f"{sync}: expected the encoders that {model} was trained against, found others")
        encoders = _to_half(load_checkpoint(sync))
        build_frozen(SyncModel, encoders)
    write_release(place, halved, encoders, _build_card(trained, place.name))
    return out


def _to_half(checkpoint: Checkpoint) -> Checkpoint:
    """Convert large weights to half precision; the mesh, integers and one-dimensional weights stay exact."""

    def halve(name: str, value: Tensor) -> Tensor:
        exact = value.ndim < 2 or not value.is_floating_point() or ".mesh." in name
        return value if exact else value.to(torch.float16)

    weights = {name: halve(name, value) for name, value in checkpoint.weights.items()}
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{name}: expected weights that half precision can hold, found larger ones")
    return Checkpoint(
        kind=checkpoint.kind,
        config=checkpoint.config,
        weights=weights,
        parents=checkpoint.parents,
        step=checkpoint.step,
        metrics=checkpoint.metrics,
    )


def _build_card(model: Checkpoint, name: str) -> str:
    metrics = [[key, f"{value:.4g}"] for key, value in sorted(model.metrics.items())]
    return (
        f"# {name}\n\nA `{model.kind}` model for cals, step {model.step}.\n\n"
        "Before you pass it on, say here: the data and its licence; the commands and the commit that trained it; where "
        "it fails; what it may be used for and what not (the consent of whoever is shown speaking comes first).\n\n"
        f"{format_table(['at the last validation', ''], metrics, aligned=False)}\n"
    )
