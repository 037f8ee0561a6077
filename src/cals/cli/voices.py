"""`cals voices`: a prepared corpus in other voices."""

from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.progress import show_progress


def voices(
    corpus: Annotated[Path, tyro.conf.Positional], *, out: Path, k: int = 3, seed: int = 0, workers: int = 2
) -> None:
    """Convert every clip to other voices with the same timing, for `cals train --voices`; needs `cals[voices]`.

    Broken off, the same command goes on where it stopped.

    Args:
        corpus: A folder made by `cals prepare`.
        out: The folder for the voices.
        k: How many other voices every clip gets.
        seed: Seed of the choice of voices.
        workers: Processes.
    """
    from cals.data.voice_bank import BankConfig, build_voice_bank

    with show_progress("voices", "shards") as progress:
        build_voice_bank(corpus, out, BankConfig(k=k, seed=seed), workers=workers, progress=progress)
    print(out)
