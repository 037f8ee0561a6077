"""`cals readability`: whether lips that a model makes can be read."""

from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.progress import show_progress


def readability(
    corpus: Annotated[Path, tyro.conf.Positional],
    *,
    splits: Path,
    reader: Path,
    out: Path,
    model: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    generated: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    parts: tuple[str, ...] = ("val_seen", "val_unseen"),
    clips: int | None = None,
    seed: int = 0,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 8,
    force: bool = False,
) -> None:
    """Read the words off real and generated lips with a frozen lip reader; their ratio is the paper's 97.7 %.

    Started again with the same settings after an interruption, it goes on where it stopped.

    Args:
        corpus: The folder with the videos, a sub-folder a speaker; clips need their words in .align files.
        splits: JSON file with the clip names of each part.
        reader: Checkpoint folder of a lip reader, made by `cals train reader`.
        out: The folder for readability.json, readability.md and confusions.png.
        model: A name from `cals models list`, or a checkpoint folder; may be given several times.
        generated: A folder of videos that another system made of the same clips with their own sound, named as the
            corpus names them (SPEAKER/CLIP.mp4); may be given several times.
        parts: Parts of the splits to use.
        clips: At most so many clips per part, evenly spaced among those with known words; default: all.
        seed: Seed of the bootstrap.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where reader and models run, as torch names it.
        batch: Frames rendered at once.
        force: Overwrite an earlier report.
    """
    from cals.errors import ConfigError
    from cals.evaluation.reading.readability import FILES, ReadabilityConfig, measure_readability
    from cals.inference.lipsync import LipSync

    if len(set(model)) < len(model):
        raise ConfigError(f"model: expected each once, found {', '.join(model)}")
    config = ReadabilityConfig(parts=parts, clips=clips, seed=seed)
    models = {name: LipSync(name, face_models=face_models, device=device, batch=batch) for name in model}
    with show_progress("reading lips", "clips") as progress:
        report = measure_readability(
            corpus,
            splits,
            reader,
            models,
            out,
            config,
            generated=generated,
            face_models=face_models,
            device=device,
            force=force,
            progress=progress,
        )
    print(report.format_tables())
    print(f"{out}: {', '.join(FILES)}")
