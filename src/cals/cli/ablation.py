"""`cals ablation`: the rows of the paper's Table 1, trained and scored."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.comparison_options import ComparisonOptions
from cals.cli.progress import show_progress
from cals.cli.train import check_libraries


def ablation(
    *,
    corpus: Path,
    a2l: Path,
    out: Path,
    options: Annotated[ComparisonOptions, tyro.conf.arg(name="")],
    decoder: Literal["unet", "debug"] = "unet",
    steps_each: int | None = None,
    minutes_each: float | None = None,
    rows: tuple[str, ...] = (),
    voices: Path | None = None,
    judge: Path | None = None,
    clips: int | None = None,
) -> None:
    """Train Wav2Lip, + A2L, + d_av, + d_vv with the same steps, seed and batches; score them beside the published rows.

    Started again with the same folders it goes on where it stopped.

    Args:
        corpus: A folder made by `cals prepare`, to train on.
        a2l: Checkpoint folder of Audio-to-Lip, trained against the sync encoders.
        out: The folder for a run of each row, plan.json, scores.json, report.json, report.md and a strips-PART.png.
        options: What is trained against, and scored on.
        decoder: What draws; `debug` is for tests.
        steps_each: Steps of each row.
        minutes_each: Instead of steps: as many as the dearest row takes in this time.
        rows: Some of wav2lip, a2l, a2l+d_av, a2l+d_av+d_vv (all of these by default) and window, which is not
            published: 0.2 s of sound and no sync loss.
        voices: A folder made by `cals voices`.
        judge: Other sync encoders to score with; default: those of `sync`, which flatter the rows that they trained.
        clips: At most so many clips per part, evenly spaced; default: all.
    """
    check_libraries()
    from cals.evaluation.ablation.rows import score_rows
    from cals.evaluation.clips import ClipsConfig
    from cals.training.ablation import TABLE_1, AblationConfig, train_rows
    from cals.training.run import Corpus

    scoring = ClipsConfig(parts=options.parts, clips=clips)
    config = AblationConfig(rows=rows or TABLE_1, decoder=decoder, steps_each=steps_each, minutes_each=minutes_each)
    source = Corpus(folder=corpus, splits=options.splits, voices=voices)
    with show_progress(f"training {len(config.rows)} rows", "steps") as progress:
        trained = train_rows(config, source, options.sync, a2l, out, accelerator=options.accelerator, progress=progress)
    models = {row.name: row.model for row in trained}
    notes = {row.name: row.note for row in trained}
    with show_progress("scoring", "clips") as progress:
        report = score_rows(
            models,
            notes,
            options.videos,
            options.splits,
            judge or options.sync,
            out,
            scoring,
            face_models=options.face_models,
            device=options.device,
            progress=progress,
        )
    print(report.format_text())
    print(f"{out}: report.json, report.md, " + ", ".join(f"strips-{part}.png" for part in options.parts))
