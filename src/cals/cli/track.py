"""`cals track`: where the face is, to look at and to keep."""

from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.progress import show_progress


def track(
    video: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path | None = None,
    sheet: Path | None = None,
    person: str = "largest",
    keep_going: bool = False,
    face_models: Path | None = None,
    force: bool = False,
) -> None:
    """Follow one person's face through a video: landmarks as JSON, and a contact sheet with the mesh drawn on it.

    Args:
        video: Video or image.
        out: The JSON file; default: the video's name with `.track.json`, in this folder.
        sheet: The PNG file; default: beside the JSON file, with `.png`.
        person: Whom to follow: largest, left, right, a number counted from the left, or x,y@seconds.
        keep_going: Use what can be decoded of a damaged video.
        face_models: Folder with the two face networks, for machines without a network.
        force: Overwrite existing outputs.
    """
    from cals.inference.track import track_video

    out = out or Path(f"{video.stem}.track.json")
    sheet = sheet or out.with_suffix(".png")
    with show_progress("tracking") as progress:
        counts = track_video(
            video,
            out,
            sheet,
            person=person,
            keep_going=keep_going,
            force=force,
            face_models=face_models,
            progress=progress,
        )
    print(f"{out}, {sheet}: a face in {counts['faces']} of {counts['frames']} frames, {counts['tracks']} track(s)")
