"""`cals train`: one stage of training."""

import importlib
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import show_progress

LIBRARIES = ("lightning", "tensorboard", "matplotlib")
"""Libraries of the extra `cals[train]`."""


def train(
    stage: Annotated[Literal["sync", "a2l", "l2f", "reader", "avsr"], tyro.conf.Positional],
    preset: Annotated[str, tyro.conf.Positional],
    *,
    corpus: Path,
    run: Path,
    splits: Path | None = None,
    voices: Path | None = None,
    sync: Path | None = None,
    a2l: Path | None = None,
    max_minutes: float | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    seed: int = 0,
    front_ends: Annotated[list[Path] | None, tyro.conf.arg(metavar="PATH [PATH ...]")] = None,
) -> None:
    """Train one stage; started again with the same run directory, it goes on where it stopped.

    Args:
        stage: `sync` first; then `a2l`, which learns to say what the frozen visual sync encoder sees; then `l2f`.
            `reader`, a lip reader that judges them (`cals readability`), and `avsr`, speech recognition from sound and
            lips (`cals transcribe`, `cals wer`), need none of these.
        preset: Settings by name, for example `sync-grid-small`; an unknown name lists them.
        corpus: A folder made by `cals prepare`.
        run: The run directory: state, network, log, curves, sheets of pictures.
        splits: JSON file with the clip names of `train`, and `val_seen`, `val_unseen` or both, as `cals prepare` writes
            it; without it 3 % of the clips (1 to 20, of 10 at least) are held out as seen.
        voices: A folder made by `cals voices`: the corpus in other voices.
        sync: Checkpoint folder of the sync encoders, for `a2l` and `l2f`.
        a2l: Checkpoint folder of Audio-to-Lip, for `l2f` (but not for its `*-wav2lip`, `*-synctalkface*`, `*-pcavs` and
            `*-audio2head` presets, which hear 0.2 s).
        max_minutes: Stop by then, with everything saved.
        accelerator: cpu, cuda, mps, or auto.
        devices: How many of them, each a process.
        seed: Seed of first weights and batches, added to the preset's.
        front_ends: For `avsr`, checkpoint folders of recognisers whose front-ends it begins with, those of single
            streams, say.
    """
    check_libraries()
    from cals.training.loop import RunOptions
    from cals.training.run import Corpus, train_stage

    options = RunOptions(run=run, max_minutes=max_minutes, accelerator=accelerator, devices=devices, seed=seed)
    source = Corpus(folder=corpus, splits=splits, voices=voices)
    with show_progress(f"training {stage}", "steps") as progress:
        metrics = train_stage(stage, preset, source, options, progress, sync=sync, a2l=a2l, front_ends=front_ends or ())
    print(f"{run / 'model'}")
    for name, value in sorted(metrics.items()):
        print(f"  {name}: {value:.4f}")


def check_libraries() -> None:
    """Raise ConfigError for a missing library before any work: the curves would need the last one only after hours."""
    from cals.errors import ConfigError

    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in LIBRARIES:
                raise
            raise ConfigError(
                f"train: expected the library {error.name}, found none; pip install 'cals[train]'"
            ) from error
