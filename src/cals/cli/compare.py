"""`cals compare`: the systems of the paper's Table 3, trained for the same time and scored by one protocol."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.comparison_options import ComparisonOptions
from cals.cli.progress import show_progress
from cals.cli.train import check_libraries


def compare(
    corpus: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path,
    options: Annotated[ComparisonOptions, tyro.conf.arg(name="")],
    systems: tuple[str, ...] = ("all",),
    size: Literal["small", "debug"] = "small",
    minutes_each: float | None = None,
    steps_each: int | None = None,
    seed: int = 0,
    generated: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    clips: int | None = None,
    judge: Path | None = None,
    reader: Path | None = None,
    paper: Literal["lrw", "lrs2", "hdtf"] = "lrs2",
    workers: int = 1,
) -> None:
    """Train the systems of Table 3 for the same time on the same data, score them alike, compare with the paper.

    Started again with the same folders it goes on where it stopped.

    Args:
        corpus: A folder made by `cals prepare`, to train on.
        out: The folder for the runs, whole reports, compare.json and compare.md.
        options: What is trained against, and scored on.
        systems: Some of audio2head, pcavs, wav2lip, synctalkface, cals (as published) and cals-mesh (as shipped), which
            are `all`, and nomemory (SyncTalkFace without its memory).
        size: Size of the presets; `debug` is for tests.
        minutes_each: Time of each system, Audio-to-Lip included.
        steps_each: Instead of minutes: at most so many steps of every stage.
        seed: Seed of first weights, batches, pairs and bootstrap.
        generated: NAME=FOLDER of videos that the original of a system made of the same pairs (`cals evaluate
            --list-only` writes them); may be given several times.
        clips: At most so many clips per part; default: all.
        judge: Sync encoders that score; default: those that ship.
        reader: Checkpoint folder of a lip reader, made by `cals train reader`: adds readability.
        paper: The corpus whose published order is compared.
        workers: Processes that score.
    """
    check_libraries()
    from cals.evaluation.ablation.systems import FILES, CompareConfig, check_comparison, compare_systems
    from cals.evaluation.protocol.run import parse_folders
    from cals.training.run import Corpus
    from cals.training.systems import TABLE_SYSTEMS, SystemsConfig, train_systems

    names = TABLE_SYSTEMS if systems == ("all",) else systems
    config = SystemsConfig(systems=names, size=size, minutes_each=minutes_each, steps_each=steps_each, seed=seed)
    scoring = CompareConfig(
        parts=options.parts,
        clips=clips,
        seed=seed,
        paper=paper,
        generated=parse_folders(generated),
        sync=judge,
        reader=reader,
        workers=workers,
        device=options.device,
        face_models=options.face_models,
    )
    check_comparison(names, options.videos, options.splits, scoring)
    source = Corpus(folder=corpus, splits=options.splits)
    with show_progress(f"training {len(names)} systems", "thousandths") as progress:
        trained = train_systems(config, source, options.sync, out, accelerator=options.accelerator, progress=progress)
    models, notes = {row.name: row.model for row in trained}, {row.name: row.note for row in trained}
    with show_progress("scoring", "pairs") as progress:
        report = compare_systems(models, notes, options.videos, options.splits, out, scoring, progress=progress)
    print(report.format_text())
    print(f"{out}: {', '.join(FILES)}")
