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
        self._check(out, force, inputs)
        try:
            super().__init__(out)
        except OSError as error:
            raise MediaError(
                f"{out.parent}: expected a folder that can be written to, found: {why(error)}; choose another --out"
            ) from error

    def _check(self, out: Path, force: bool, inputs: Iterable[Path]) -> None:
        if not self.container:
            known = " ".join(CONTAINERS)
            raise MediaError(
                f"{out}: expected a name ending in one of {known}, found '{out.suffix}'; rename the output"
            )
        try:
            if not out.parent.is_dir():
                raise MediaError(f"{out.parent}: expected an existing folder, found none; create it first")
            if out.is_dir():
                raise MediaError(f"{out}: expected a file name, found a directory; name a file inside it")
            if out.exists():
                for path in inputs:
                    if path.exists() and path.samefile(out):
                        raise MediaError(f"{out}: expected an output apart from the inputs, found the input {path}")
                if not force:
                    raise MediaError(f"{out}: expected a new file, found an existing one; use --force to replace it")
        except (OSError, ValueError) as error:
            raise MediaError(f"{out}: expected a usable file name, found: {error}; choose another --out") from error


def describe_failure(out: Path, error: BaseException) -> MediaError:
    """The MediaError for a failed write."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        return MediaError(f"{out}: expected room for the video, found the disk full; free some space or choose another")
    if getattr(error, "errno", None) in (errno.EDQUOT, errno.EFBIG):
        return MediaError(
            f"{out}: expected room for the video, found a quota or size limit reached; choose another --out"
        )
    return MediaError(f"{out}: expected to write a video, found: {error}; choose another name, codec or disk")
