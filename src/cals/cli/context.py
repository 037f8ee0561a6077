"""`cals context`: how much sound around a frame a model needs."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import frame_progress


def context(
    model: Annotated[str, tyro.conf.Positional],
    corpus: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path,
    splits: Path | None = None,
    parts: tuple[str, ...] = ("val_seen", "val_unseen"),
    clips: int | None = None,
    every: int = 5,
    reach: int = 25,
    measure: Literal["picture", "mesh"] = "picture",
    seed: int = 0,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 16,
    force: bool = False,
) -> None:
    """Cut the sound to k frames on either side of a moment, draw that moment, and see how good its mouth is by k.

    Args:
        model: A name from `cals models list`, or a checkpoint folder.
        corpus: A folder made by `cals prepare` or `cals synthetic`.
        out: The folder for context.json, context.md and context.png; started again, it goes on where it stopped.
        splits: JSON file with the clip names of each part; default: all clips of the corpus.
        parts: The parts of the splits to look at.
        clips: At most so many clips a part, evenly spaced; default: all.
        every: Frames from one moment to the next.
        reach: The largest k; only moments with so many frames on either side are looked at.
        measure: `picture`: draw the face and track it anew; `mesh`: take the mesh that the model says, for models that
            have one: cheap, and for drawn faces that no tracker finds.
        seed: Of the bootstrap.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the model runs, as torch names it.
        batch: Frames drawn at once.
        force: Overwrite earlier results, and unfinished work with other settings.
    """
    from cals.evaluation.studies.context import ContextConfig, context
    from cals.inference.lipsync import LipSync

    config = ContextConfig(parts=parts, clips=clips, every=every, reach=reach, measure=measure, seed=seed)
    lips = LipSync(model, face_models=face_models, device=device, batch=batch)
    with frame_progress(f"context of {lips.model.name}", "clips") as progress:
        report = context(
            lips, corpus, out, config, splits=splits, face_models=face_models, force=force, progress=progress
        )
    print(report.summary())
    print(f"{out}: context.json, context.md, context.png")
