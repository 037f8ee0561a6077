"""The folder of a released model: checkpoints, and texts that are kept when it is written again."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError

from cals.checkpoint import CONFIG, WEIGHTS, Checkpoint, write_checkpoint
from cals.errors import CheckpointError
from cals.files import describe_os_error, replace_folder_atomically

CARD, LICENCE = "README.md", "LICENSE"
SYNC = "sync"
"""The only subfolder of a release."""


def check_output_folder(place: Path, sources: Sequence[Path], *, force: bool) -> None:
    """Raise CheckpointError unless the resolved path `place` is free, or with `force` an older release.

    It must contain none of `sources`.
    """
    for source in sources:
        if source.resolve().is_relative_to(place):
            raise CheckpointError(f"{place}: expected a folder apart from {source}, found it there; name another --out")
    if not place.exists():
        return
    if not force:
        raise CheckpointError(f"{place}: expected a new folder, found one; name another, or give --force")
    foreign = _find_foreign(place)
    if foreign is not None:
        raise CheckpointError(
            f"{place}: expected a folder with {CONFIG}, {WEIGHTS}, {CARD}, {LICENCE} and {SYNC} alone to replace, "
            f"found {foreign}; move that away, or name another --out"
        )


def write_release(place: Path, checkpoint: Checkpoint, sync: Checkpoint | None = None, card: str | None = None) -> None:
    """Write `place`, a resolved path, atomically; an existing card and licence are kept.

    `sync` goes to `place/sync`, and `card` is used where there is none yet. Raises CheckpointError.
    """
    try:
        texts = {} if card is None else {CARD: card}
        for name in (CARD, LICENCE):
            old = place / name
            if old.is_file():
                texts[name] = old.read_text(encoding="utf-8")
        place.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder_atomically(place) as partial:
            write_checkpoint(partial, checkpoint)
            if sync is not None:
                (partial / SYNC).mkdir()
                write_checkpoint(partial / SYNC, sync)
            for name, text in texts.items():
                (partial / name).write_text(text, encoding="utf-8")
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else str(error)
        raise CheckpointError(
            f"{place}: expected to write a model, found {reason}; free some space, or name another folder"
        ) from error


def _find_foreign(folder: Path) -> str | None:
    """Return the name of something that is no part of a release, or None."""
    if not folder.is_dir():
        return "a file"
    for path in sorted(folder.iterdir()):
        if path.name == SYNC and path.is_dir():
            other = next((inner for inner in sorted(path.iterdir()) if not _is_release_file(inner)), None)
            if other is not None:
                return f"{SYNC}/{other.name}"
        elif not _is_release_file(path):
            return path.name
    return None


def _is_release_file(path: Path) -> bool:
    return path.name in (CONFIG, WEIGHTS, CARD, LICENCE) and path.is_file()
