"""`cals sheet`: what the mouths of some videos do, on one picture."""

from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.progress import show_progress


def sheet(
    videos: Annotated[tuple[Path, ...], tyro.conf.Positional],
    *,
    out: Path,
    columns: int = 10,
    person: str = "largest",
    keep_going: bool = False,
    face_models: Path | None = None,
    force: bool = False,
) -> None:
    """Draw a contact sheet of faces: a row a video, evenly spaced over its length.

    Args:
        videos: Videos or images with a face each; for example one before and after `cals generate`.
        out: The PNG file.
        columns: Faces in a row.
        person: Whom to follow: largest, left, right, a number counted from the left, or x,y@seconds.
        keep_going: Use what can be decoded of a damaged video.
        face_models: Folder with the two face networks, for machines without a network.
        force: Overwrite an existing output.
    """
    from cals.inference.sheet import write_sheet

    with show_progress("drawing") as progress:
        write_sheet(
            videos,
            out,
            columns=columns,
            person=person,
            keep_going=keep_going,
            force=force,
            face_models=face_models,
            progress=progress,
        )
    print(f"{out}: {len(videos)} video(s), {columns} frames of each")
