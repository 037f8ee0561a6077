"""`cals prepare`: raw videos to training shards."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import show_progress
from cals.data.offset import MIN_CORRELATION

SHOWN = 40
"""Largest number of speakers whose offset is printed."""


def prepare(
    source: Annotated[Literal["folder", "grid", "lombard", "lrw", "lrs2", "lrs3", "hdtf"], tyro.conf.Positional],
    corpus: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path,
    workers: int | None = None,
    ray: str | None = None,
    min_correlation: float = MIN_CORRELATION,
    crop_px: int = 128,
    face_models: Path | None = None,
) -> None:
    """Turn videos of talking people into verified shards: aligned crops, sound, landmarks, words.

    Broken off, the same command goes on where it stopped.

    Args:
        source: `folder` takes any videos, a sub-folder a speaker; the others read a corpus as it is distributed, with
            its words, texts and parts.
        corpus: The folder with the videos.
        out: The folder for shards, manifest and summary, and splits where the corpus has parts.
        workers: Processes; 2 here by default, all processors of a cluster.
        ray: Address of a Ray cluster whose nodes see the same folders, to work there: `auto` where this machine belongs
            to one, `local` for one of this machine alone; needs `cals[ray]`.
        min_correlation: Samples whose mouth opening follows their loudness less than this are left out.
        crop_px: Side of the crops; 128 but for presets that say otherwise.
        face_models: Folder with the two face networks, for machines without a network.
    """
    from cals.data.prepare import PrepareConfig
    from cals.data.prepare import prepare as prepare_corpus
    from cals.data.sources import folder, grid, hdtf, lombard, lrs2, lrs3, lrw

    readers = {"folder": folder, "grid": grid, "lombard": lombard, "lrw": lrw, "lrs2": lrs2, "lrs3": lrs3, "hdtf": hdtf}
    listing = readers[source].read_corpus(corpus)
    config = PrepareConfig(min_correlation=min_correlation, crop_px=crop_px)
    with show_progress("preparing", "clips") as progress:
        summary = prepare_corpus(
            listing.clips,
            out,
            config,
            workers=(0 if ray else 2) if workers is None else workers,
            ray=ray,
            face_models=face_models,
            progress=progress,
            dropped=listing.dropped,
            splits=listing.splits,
        )
    print(f"{out}: {summary.samples} samples, {summary.frames} frames of {summary.clips} clips")
    for reason, count in sorted(summary.dropped.items()):
        print(f"  dropped: {count} {reason}")
    for speaker, offset in sorted(summary.offsets.items())[:SHOWN]:
        print(f"  {speaker}: offset {offset.offset_frames:+d} frames, correlation {offset.correlation:.2f}")
    if len(summary.offsets) > SHOWN:
        print(f"  ... and {len(summary.offsets) - SHOWN} more in {out / 'summary.json'}")
    if listing.splits is not None:
        print(f"  parts: {out / 'splits.json'}")
