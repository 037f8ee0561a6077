"""`cals models`: what there is, fetching what is not shipped, and releasing one's own."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals import hub


def models(
    action: Annotated[Literal["list", "download", "bundle"], tyro.conf.Positional],
    model: Annotated[Path | None, tyro.conf.Positional] = None,
    *,
    out: Path | None = None,
    sync: Path | None = None,
    force: bool = False,
) -> None:
    """List the models, fetch the face networks into the cache, or make a trained model ready to be passed on.

    Args:
        action: `list` prints names, licences and where they lie; `download` fetches what is missing; `bundle` writes
            a trained model, small and checked, to a folder of its own.
        model: For `bundle`: the checkpoint folder of a trained model, `RUN/model`.
        out: For `bundle`: the folder to write; `cals generate --model` takes it.
        sync: For `bundle`: checkpoint folder of the sync encoders, to go with it.
        force: Replace an older bundle at `out`; its model card stays.
    """
    if action == "bundle":
        from cals.errors import ConfigError
        from cals.training.bundle import bundle

        if model is None or out is None:
            raise ConfigError("bundle: expected a checkpoint folder and --out, found one of them missing")
        folder = bundle(model, out, sync, force=force)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder}\t{size / 1e6:.1f} MB\tfill in {folder / 'README.md'} before you pass it on")
        return
    if action == "download":
        for path in hub.download():
            print(path)
        return
    for name, entry in hub.MODELS.items():
        print(f"{name}\tlip model\t{entry.licence}\t{entry.summary}")
    for item in hub.FACE_FILES:
        place = hub.cache_dir() / "face" / item.name
        print(
            f"{item.name}\tface network\t{item.licence}\t{item.origin}\t{place if place.is_file() else 'not fetched'}"
        )
