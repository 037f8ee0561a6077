"""From a run to a released model: small weights, what they were trained against, and a card to fill in."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from cals.checkpoint import (
    CONFIG,
    WEIGHTS,
    Checkpoint,
    load_checkpoint,
    put_folder,
    save_checkpoint,
    weights_sha256,
)
from cals.errors import CheckpointError
from cals.files import why
from cals.models.factory import from_checkpoint
from cals.models.sync import sync_from_checkpoint

CARD = "README.md"
SYNC = "sync"


def bundle(model: Path, out: Path, sync: Path | None = None, *, force: bool = False) -> Path:
    """Write the lip model of the checkpoint folder `model` to `out` in half precision, checked; returns `out`.

    `sync`, the encoders it was trained against, goes to `out/sync`. With `force` a bundle at `out` is replaced whole;
    its card alone is kept. Raises CheckpointError when a part does not load, the encoders are others than the
    model's, or `out` exists and is not to be replaced.
    """
    place = out.resolve()
    _check_place(place, model, sync, force)
    lips = load_checkpoint(model)
    parts = {place.name: _halved(lips)}
    from_checkpoint(parts[place.name])
    if sync is not None:
        found = weights_sha256(sync)
        if lips.parents.get("sync", found) != found:
            raise CheckpointError(f"{sync}: expected the encoders that {model} was trained against, found others")
        parts[f"{place.name}/{SYNC}"] = _halved(load_checkpoint(sync))
        sync_from_checkpoint(parts[f"{place.name}/{SYNC}"])
    try:
        old = place / CARD
        card = old.read_text(encoding="utf-8") if old.is_file() else _card(lips, place.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as temporary:
            for name, part in parts.items():
                save_checkpoint(Path(temporary) / name, part)
            (Path(temporary) / place.name / CARD).write_text(card, encoding="utf-8")
            put_folder(Path(temporary) / place.name, place)
    except (OSError, UnicodeDecodeError) as error:
        found = why(error) if isinstance(error, OSError) else str(error)
        raise CheckpointError(
            f"{out}: expected to write a model, found {found}; free some space, or name another folder"
        ) from error
    return out


def _check_place(place: Path, model: Path, sync: Path | None, force: bool) -> None:
    """CheckpointError unless the resolved path `place` is free, or an older bundle that may be replaced."""
    for source in (model, sync):
        if source is not None and source.resolve().is_relative_to(place):
            raise CheckpointError(f"{place}: expected a folder apart from {source}, found it there; name another --out")
    if not place.exists():
        return
    if not force:
        raise CheckpointError(f"{place}: expected a new folder, found one; name another, or give --force")
    foreign = _foreign(place)
    if foreign is not None:
        raise CheckpointError(
            f"{place}: expected a folder with {CONFIG}, {WEIGHTS}, {CARD} and {SYNC} alone to replace, found "
            f"{foreign}; move that away, or name another --out"
        )


def _foreign(folder: Path) -> str | None:
    """Something that no bundle has, if `folder` is or holds it."""
    if not folder.is_dir():
        return "a file"
    for path in sorted(folder.iterdir()):
        if path.name == SYNC and path.is_dir():
            other = next((inner for inner in sorted(path.iterdir()) if not _is_part(inner)), None)
            if other is not None:
                return f"{SYNC}/{other.name}"
        elif not _is_part(path):
            return path.name
    return None


def _is_part(path: Path) -> bool:
    return path.name in (CONFIG, WEIGHTS, CARD) and path.is_file()


def _halved(checkpoint: Checkpoint) -> Checkpoint:
    """The same with its large weights in half precision; what is measured, counted or one-dimensional stays exact."""

    def smaller(name: str, value: Tensor) -> Tensor:
        exact = value.ndim < 2 or not value.is_floating_point() or ".mesh." in name
        return value if exact else value.to(torch.float16)

    weights = {name: smaller(name, value) for name, value in checkpoint.weights.items()}
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


def _card(lips: Checkpoint, name: str) -> str:
    metrics = "\n".join(f"| {key} | {value:.4g} |" for key, value in sorted(lips.metrics.items()))
    return (
        f"# {name}\n\nA `{lips.kind}` lip-sync model for cals, step {lips.step}.\n\n"
        "Before you pass it on, say here: the data and its licence; the commands and the commit that trained it; where "
        "it fails; what it may be used for and what not (the consent of whoever is shown speaking comes first).\n\n"
        f"| at the last validation | |\n|---|---|\n{metrics}\n"
    )
