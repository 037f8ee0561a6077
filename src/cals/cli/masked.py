"""`cals masked`: mouths made while their own sound is hidden."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import frame_progress


def masked(
    model: Annotated[str, tyro.conf.Positional],
    corpus: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path,
    baseline: str | None = None,
    a2l: Path | None = None,
    splits: Path | None = None,
    parts: tuple[str, ...] = ("val_seen", "val_unseen"),
    clips: int | None = None,
    every: int = 10,
    lengths: tuple[int, ...] = (1, 3, 5, 8, 10, 15),
    margin: int = 10,
    measure: Literal["picture", "mesh"] = "picture",
    seed: int = 0,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 16,
    force: bool = False,
) -> None:
    """Hide the sound of some frames and see how good their mouths are, made from what is heard around them.

    Args:
        model: A name from `cals models list`, or a checkpoint folder; one with an Audio-to-Lip.
        corpus: A folder made by `cals prepare` or `cals synthetic`.
        out: The folder for masked.json, masked.md, masked.png and sheet.png; started again, it goes on where it
            stopped.
        baseline: Another model, which gets silence in place of what is hidden.
        a2l: Checkpoint folder of the Audio-to-Lip that the model was trained from, to take in place of its own, which
            may have forgotten what hidden sound is.
        splits: JSON file with the clip names of each part; default: all clips of the corpus.
        parts: The parts of the splits to look at.
        clips: At most so many clips a part, evenly spaced; default: all.
        every: Frames from one moment to the next.
        lengths: Frames hidden at once around a moment, rising.
        margin: Frames left at either end of a clip.
        measure: `picture`: draw the faces and track them anew; `mesh`: take the mesh that the model says, for models
            that have one: cheap, and for drawn faces that no tracker finds.
        seed: Of the bootstrap.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the models run, as torch names it.
        batch: Frames drawn at once.
        force: Overwrite earlier results, and unfinished work with other settings.
    """
    from cals.evaluation.studies.masked import MaskedConfig, masked
    from cals.inference.lipsync import LipSync

    config = MaskedConfig(
        parts=parts, clips=clips, every=every, lengths=lengths, margin=margin, measure=measure, seed=seed
    )
    lips, other = (
        None if name is None else LipSync(name, face_models=face_models, device=device, batch=batch)
        for name in (model, baseline)
    )
    assert lips is not None
    with frame_progress(f"masked sound of {lips.model.name}", "clips") as progress:
        report = masked(
            lips,
            corpus,
            out,
            config,
            baseline=other,
            a2l=a2l,
            splits=splits,
            face_models=face_models,
            force=force,
            progress=progress,
        )
    print(report.summary())
    print(f"{out}: masked.json, masked.md, masked.png, sheet.png")
