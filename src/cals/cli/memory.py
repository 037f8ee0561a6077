"""`cals memory`: what a model's Audio-Lip Memory recalls, and when."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.progress import show_progress


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """Options of `cals memory`."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A checkpoint folder, for example that of a run of `l2f-grid-synctalkface`."""
    corpus: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CORPUS")]
    """A folder made by `cals prepare` or `cals synthetic`."""
    splits: Path
    """JSON file with the clip names of each part."""
    out: Path
    """The folder for memory.json, memory.md and, with pocketsphinx, slots.png."""
    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    """Parts of the splits to use: clips that the model was not trained on."""
    clips: int | None = None
    """At most so many clips per part, evenly spaced; default: all."""
    fit_part: str = "train"
    """The part that mean and regression are fitted to."""
    fit_clips: int = 100
    """At most so many clips of it, evenly spaced."""
    seed: int = 0
    """Seed of the bootstrap and of the shuffled phones."""
    device: str = "cpu"
    """Where the model runs, as torch names it."""
    force: bool = False
    """Overwrite earlier results."""


def memory(options: Annotated[MemoryOptions, tyro.conf.arg(name="")]) -> None:
    """Compare the lip features that sound recalls with the real ones, and see which slots fire at which phones."""
    from cals.evaluation.studies.memory import MemoryStudyConfig, measure_memory
    from cals.inference.load import load_model

    config = MemoryStudyConfig(
        parts=options.parts,
        clips=options.clips,
        fit_part=options.fit_part,
        fit_clips=options.fit_clips,
        seed=options.seed,
    )
    model = load_model(options.model)
    model.network.to(options.device)
    with show_progress(f"memory of {model.name}", "clips") as progress:
        report = measure_memory(
            model, options.corpus, options.splits, options.out, config, force=options.force, progress=progress
        )
    print(report.format_summary())
    print(f"{options.out}: {', '.join(sorted(path.name for path in options.out.iterdir()))}")
