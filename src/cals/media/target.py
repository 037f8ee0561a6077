"""Where output goes: checked before work starts, written beside the target, renamed when complete."""

import errno
from collections.abc import Iterable
from pathlib import Path

from cals.errors import MediaError
from cals.files import WholeFile, why

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
            super().__init__(out)
        except OSError as error:
            raise MediaError(
                f"{out.parent}: expected a folder that can be written to, found: {why(error)}; choose another --out"
            ) from error


def check_place(path: Path, *, force: bool, apart_from: Iterable[Path]) -> None:
    """Raise MediaError where no new file may go: no folder, a directory, one of `apart_from`, or a file to be kept."""
    try:
        if not path.parent.is_dir():
            raise MediaError(f"{path.parent}: expected an existing folder, found none; create it first")
        if path.is_dir():
            raise MediaError(f"{path}: expected a file name, found a directory; name a file inside it")
        for other in apart_from:
            if path.absolute() == other.absolute() or (path.exists() and other.exists() and path.samefile(other)):
                raise MediaError(
                    f"{path}: expected a file of its own, apart from the inputs and other outputs, found {other} under "
                    "that name; choose another one"
                )
        if path.exists() and not force:
            raise MediaError(f"{path}: expected a new file, found an existing one; use --force to replace it")
    except (OSError, ValueError) as error:
        raise MediaError(f"{path}: expected a usable file name, found: {error}; choose another one") from error


def describe_failure(out: Path, error: BaseException) -> MediaError:
    """The MediaError for a failed write."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        return MediaError(f"{out}: expected room for the video, found the disk full; free some space or choose another")
    if getattr(error, "errno", None) in (errno.EDQUOT, errno.EFBIG):
        return MediaError(
            f"{out}: expected room for the video, found a quota or size limit reached; choose another --out"
        )
    return MediaError(f"{out}: expected to write a video, found: {error}; choose another name, codec or disk")
