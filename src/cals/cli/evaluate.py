"""`cals evaluate`: a model's numbers on held-out clips."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import frame_progress


def evaluate(
    protocol: Annotated[Literal["quick"], tyro.conf.Positional],
    corpus: Annotated[Path, tyro.conf.Positional],
    *,
    splits: Path,
    model: str,
    out: Path,
    sync: Path | None = None,
    parts: tuple[str, ...] = ("val_seen", "val_unseen"),
    clips: int | None = None,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 8,
    force: bool = False,
) -> None:
    """Drive held-out clips by their own and by others' sound, and compare with the real ones and with baselines.

    Args:
        protocol: `quick`: how the mouth moves and how the picture looks, in seconds a clip.
        corpus: The folder with the videos, a sub-folder a speaker.
        splits: JSON file with the clip names of each part.
        model: A name from `cals models list`, or a checkpoint folder.
        out: The folder for quick.json, quick.md and the contact sheet sheet.png.
        sync: Checkpoint folder of sync encoders, to see whether they find the clips in step.
        parts: The parts of the splits to look at.
        clips: At most so many clips a part, evenly spaced; default: all.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the model runs, as torch names it.
        batch: Frames drawn at once.
        force: Overwrite an earlier evaluation.
    """
    from cals.evaluation.quick import QuickConfig, quick
    from cals.inference.lipsync import LipSync

    config = QuickConfig(parts=parts, clips=clips)
    lips = LipSync(model, face_models=face_models, device=device, batch=batch)
    with frame_progress(f"evaluating {lips.model.name}", "clips") as progress:
        report = quick(
            corpus, splits, lips, out, config, sync=sync, face_models=face_models, force=force, progress=progress
        )
    print(report.tables())
    print(f"{out}: quick.json, quick.md, sheet.png")
