"""`cals track`: where the face is, to look at and to keep."""

from pathlib import Path
from typing import Annotated

import tyro

from cals.cli.progress import show_progress
from cals.errors import ConfigError


def track(
    video: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path | None = None,
    sheet: Path | None = None,
    all_people: Annotated[bool, tyro.conf.arg(name="all"), tyro.conf.FlagCreatePairsOff] = False,
    person: str = "largest",
    keep_going: bool = False,
    face_models: Path | None = None,
    force: bool = False,
) -> None:
    """Follow one person's face through a video: landmarks as JSON, and a contact sheet with the mesh drawn on it.

    Args:
        video: Video or image.
        out: The JSON file; default: the video's name with `.track.json` (`.people.json` for all), in this folder.
        sheet: The PNG file; default: beside the JSON file, with `.png`.
        all_people: List all people instead: what `--person` takes for each, and when they are visible.
        person: Whom to follow: largest, left, right, a number counted from the left, or x,y@seconds.
        keep_going: Use what can be decoded of a damaged video.
        face_models: Folder with the two face networks, for machines without a network.
        force: Overwrite existing outputs.
    """
    if all_people:
        if person != "largest":
            raise ConfigError(f"track: expected --all or --person, found both; leave out --person {person}")
        _track_all(video, out, sheet, keep_going=keep_going, face_models=face_models, force=force)
        return
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


def _track_all(
    video: Path, out: Path | None, sheet: Path | None, *, keep_going: bool, face_models: Path | None, force: bool
) -> None:
    from cals.inference.people import track_people

    out = out or Path(f"{video.stem}.people.json")
    sheet = sheet or out.with_suffix(".png")
    with show_progress("tracking") as progress:
        people = track_people(
            video, out, sheet, keep_going=keep_going, force=force, face_models=face_models, progress=progress
        )
    print(f"{out}, {sheet}: {sum(person.same_as is None for person in people)} person(s)")
    for person in people:
        print(f"  --person {person.line()}")
