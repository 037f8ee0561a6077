"""`cals train`: one stage of training."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import frame_progress


def train(
    stage: Annotated[Literal["sync", "a2l"], tyro.conf.Positional],
    preset: Annotated[str, tyro.conf.Positional],
    *,
    corpus: Path,
    run: Path,
    splits: Path | None = None,
    sync: Path | None = None,
    max_minutes: float | None = None,
    accelerator: str = "auto",
    devices: int = 1,
) -> None:
    """Train one stage; started again with the same run directory, it goes on where it stopped.

    Args:
        stage: `sync` first, then `a2l`, which learns to say what the frozen visual sync encoder sees.
        preset: Settings by name, for example `sync-grid-small`; an unknown name lists them.
        corpus: A folder made by `cals prepare`.
        run: The run directory: state, network, log, curves.
        splits: JSON file with the clip names of `train`, `val_seen` and `val_unseen`.
        sync: Checkpoint folder of the sync encoders, for `a2l`.
        max_minutes: Stop by then, with everything saved.
        accelerator: cpu, cuda, or auto.
        devices: How many of them, each a process.
    """
    from cals.errors import ConfigError
    from cals.training.loop import RunOptions
    from cals.training.run import train_a2l, train_sync

    options = RunOptions(run=run, max_minutes=max_minutes, accelerator=accelerator, devices=devices)
    with frame_progress(f"training {stage}", "steps") as progress:
        if stage == "sync":
            metrics = train_sync(preset, corpus, splits, options, progress)
        elif sync is None:
            raise ConfigError("a2l: expected --sync with the checkpoint of trained sync encoders, found none")
        else:
            metrics = train_a2l(preset, corpus, splits, sync, options, progress)
    print(f"{run / 'model'}")
    for name, value in sorted(metrics.items()):
        print(f"  {name}: {value:.4f}")
