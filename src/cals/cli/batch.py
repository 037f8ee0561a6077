"""`cals batch`: many videos by one command."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals import hub
from cals.cli.progress import show_progress
from cals.errors import ConfigError, DataError
from cals.options import ProvenanceOptions

_PROVENANCE = ProvenanceOptions()


def batch(
    jobs: Annotated[Path, tyro.conf.Positional],
    *,
    workers: int | None = None,
    ray: str | None = None,
    state: Path | None = None,
    cache: Path | None = None,
    retries: int = 1,
    results: Path | None = None,
    model: str = hub.DEFAULT_MODEL,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 8,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    force: bool = False,
    provenance: Annotated[ProvenanceOptions, tyro.conf.arg(name="")] = _PROVENANCE,
) -> None:
    """Generate a video for each row of a table.

    Broken off, the same command goes on where it stopped: outputs that are whole and whose inputs, options and model
    are unchanged are skipped. Use it only on people who agreed to it.

    Args:
        jobs: A .csv with a header, or a .jsonl with an object a line. The columns face, audio and out, report, and the
            options of `cals generate` with underscores, such as audio_track or those of a dub; paths are relative to
            this file.
        workers: Processes, each with a model of its own; 1 here by default, all processors of a cluster.
        ray: Address of a Ray cluster whose nodes see the same files, to work there: `auto` where this machine belongs
            to one, `local` for one of this machine alone; needs `cals[ray]`.
        state: Folder for the state of the jobs; by default it lies beside each output, as NAME.job.json.
        cache: Folder that keeps the faces of videos, so that several speeches of one video track it once.
        retries: How often a job is tried again after its worker was killed, or a system error that may pass.
        results: Append a JSON line a job to this file.
        model: A name from `cals models list`, or a checkpoint folder.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the model runs, as torch names it.
        batch: Frames drawn at once.
        precision: What mouths are drawn in; `auto` is bf16 where that is faster, else fp32.
        force: Overwrite existing outputs that no run of the same job wrote.
        provenance: What the files say of their making.
    """
    from cals.inference.batch import FAILED, BatchConfig, Outcome, run_batch
    from cals.inference.batch_jobs import read_jobs

    config = BatchConfig(
        model=model,
        face_models=face_models,
        device=device,
        batch=batch,
        precision=precision,
        provenance=provenance,
        state=state,
        cache=cache,
        retries=retries,
        force=force,
    )
    # on a terminal the bar makes room for lines; a pipe gets them as they are
    stream = None if sys.stdout.isatty() else sys.stdout

    def print_line(outcome: Outcome) -> None:
        failed = "failed: " if outcome.status == FAILED else ""
        print(f"{outcome.out}: {failed}{outcome.summary}", file=stream, flush=True)

    if results is not None and results.resolve() == jobs.resolve():
        raise ConfigError(f"results: expected another file than the jobs, found {results}; name another")
    with show_progress("generating", "jobs") as progress:
        outcomes = run_batch(
            read_jobs(jobs),
            config,
            workers=(0 if ray else 1) if workers is None else workers,
            ray=ray,
            results=results,
            report=print_line,
            progress=progress,
        )
    _print_counts(jobs, Counter(outcome.status for outcome in outcomes))


def _print_counts(jobs: Path, counts: Counter[str]) -> None:
    """Print the closing line; DataError where a job failed."""
    total = counts.total()
    print(f"{jobs}: {total} jobs, {', '.join(f'{count} {status}' for status, count in sorted(counts.items()))}")
    if counts["failed"]:
        raise DataError(
            f"{jobs}: expected {total} whole outputs, found {counts['failed']} failed; see their lines, and run the "
            "same command again"
        )
