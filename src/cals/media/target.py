"""Where output goes: checked before work starts, written beside the target, renamed when complete."""

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from cals.errors import MediaError

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes that can be written, and the FFmpeg name of each."""


class Target:
    """A file that appears under its name only when it is complete.

    Raises MediaError at once if the name cannot become a finished video.
    """

    def __init__(self, out: Path, *, force: bool, inputs: Iterable[Path]) -> None:
        self.out = out
        self.container = CONTAINERS.get(out.suffix.lower(), "")
        self._check(force, inputs)
        self.partial = out.parent / f".{out.name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
        try:
            self.partial.touch(exist_ok=False)
        except OSError as error:
            raise MediaError(
                f"{out.parent}: expected a folder that can be written to, found: {error.strerror}; choose another --out"
            ) from error

    def _check(self, force: bool, inputs: Iterable[Path]) -> None:
        out = self.out
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

    def commit(self) -> None:
        """Flush the finished file to disk and give it its name."""
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        self.partial.replace(self.out)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.out.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Remove the unfinished file."""
        self.partial.unlink(missing_ok=True)


def describe_failure(out: Path, error: BaseException) -> MediaError:
    """The MediaError for a failed write."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        return MediaError(f"{out}: expected room for the video, found the disk full; free some space or choose another")
    if getattr(error, "errno", None) in (errno.EDQUOT, errno.EFBIG):
        return MediaError(
            f"{out}: expected room for the video, found a quota or size limit reached; choose another --out"
        )
    return MediaError(f"{out}: expected to write a video, found: {error}; choose another name, codec or disk")
