"""`cals prepare`: raw videos to training shards."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import frame_progress
from cals.data.offset import MIN_CORRELATION


def prepare(
    source: Annotated[Literal["grid", "folder"], tyro.conf.Positional],
    corpus: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path,
    workers: int = 2,
    min_correlation: float = MIN_CORRELATION,
    crop_px: int = 128,
    face_models: Path | None = None,
) -> None:
    """Turn videos of talking people into verified shards: aligned crops, sound, landmarks, words.

    Broken off, the same command goes on where it stopped.

    Args:
        source: `grid` also reads GRID's word alignments; `folder` takes any videos, a sub-folder a speaker.
        corpus: The folder with the videos.
        out: The folder for shards, manifest and summary.
        workers: Processes.
        min_correlation: Samples whose mouth opening follows their loudness less than this are left out.
        crop_px: Side of the crops; 128 but for presets that say otherwise.
        face_models: Folder with the two face networks, for machines without a network.
    """
    from cals.data.prepare import PrepareConfig
    from cals.data.prepare import prepare as run
    from cals.data.sources import folder, grid

    clips = (grid if source == "grid" else folder).clips(corpus)
    config = PrepareConfig(min_correlation=min_correlation, crop_px=crop_px)
    with frame_progress("preparing", "clips") as progress:
        summary = run(clips, out, config, workers=workers, face_models=face_models, progress=progress)
    print(f"{out}: {summary.samples} samples, {summary.frames} frames of {summary.clips} clips")
    for reason, count in sorted(summary.dropped.items()):
        print(f"  dropped: {count} {reason}")
    for speaker, found in sorted(summary.offsets.items()):
        print(f"  {speaker}: offset {found.offset_frames:+d} frames, correlation {found.correlation:.2f}")
