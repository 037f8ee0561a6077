"""Where output goes: checked before work starts, written beside the target, renamed when complete."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cals.errors import MediaError
from cals.files import WholeFile, hint_for, why

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes that can be written, and the FFmpeg name of each."""


class Target(WholeFile):
    """A file that appears under its name only when it is complete.

    Raises MediaError at once if the name cannot become a finished video.
    """

    def __init__(self, out: Path, *, force: bool, inputs: Iterable[Path]) -> None:
        self.container = CONTAINERS.get(out.suffix.lower(), "")
        if not self.container:
            known = " ".join(CONTAINERS)
            raise MediaError(
                f"{out}: expected a name ending in one of {known}, found '{out.suffix}'; rename the output"
            )
        check_place(out, force=force, apart_from=inputs)
        try:
            super().__init__(out, replace=force)
        except OSError as error:
            raise MediaError(
                f"{out.parent}: expected a folder that can be written to, found: {why(error)}; choose another --out"
            ) from error

    def commit(self) -> None:
        """Give the finished file its name; MediaError when another file took it meanwhile and `force` was not set."""
        try:
            super().commit()
        except FileExistsError as error:
            raise taken_meanwhile(self.path) from error


def check_place(path: Path, *, force: bool, apart_from: Iterable[Path]) -> None:
    """Raise MediaError where no new file may go: no folder, a directory, one of `apart_from`, or a file to be kept."""
    try:
        is_taken = _is_something(path)
        place = Path(os.path.realpath(path))  # a link stands for what it leads to
        if place.is_symlink():
            raise MediaError(f"{path}: expected a file name, found a link that leads in a circle; choose another one")
        if not place.parent.is_dir():
            raise MediaError(
                f"{place.parent}: expected an existing folder, found none; {hint_for(path) or 'create it first'}"
            )
        if place.is_dir():
            raise MediaError(f"{path}: expected a file name, found a directory; name a file inside it")
        for other in apart_from:
            if str(place) == os.path.realpath(other) or (path.exists() and other.exists() and path.samefile(other)):
                raise MediaError(
                    f"{path}: expected a file of its own, apart from the inputs and other outputs, found {other} under "
                    "that name; choose another one"
                )
        if is_taken and not force:
            found = "a link to nowhere" if not path.exists() else "an existing one"
            raise MediaError(f"{path}: expected a new file, found {found}; use --force to replace it")
    except OSError as error:
        raise MediaError(f"{path}: expected a usable file name, found: {why(error)}; choose another one") from error
    except ValueError as error:
        raise MediaError(f"{path}: expected a usable file name, found: {error}; choose another one") from error


def _is_something(path: Path) -> bool:
    """Whether the name is taken, be it by a link that leads nowhere; OSError where there can be no such name."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()
        return True
    return False


def taken_meanwhile(path: Path) -> MediaError:
    """The error when a file that was not there at the start is there at the end."""
    return MediaError(
        f"{path}: expected a new file, found one that another program wrote meanwhile; choose another name, or use "
        "--force to replace it"
    )


def describe_failure(out: Path, error: BaseException) -> MediaError:
    """The MediaError for a failed write."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        return MediaError(f"{out}: expected room for the video, found the disk full; free some space or choose another")
    if getattr(error, "errno", None) in (errno.EDQUOT, errno.EFBIG):
        return MediaError(
            f"{out}: expected room for the video, found a quota or size limit reached; choose another --out"
        )
    return MediaError(f"{out}: expected to write a video, found: {error}; choose another name, codec or disk")
