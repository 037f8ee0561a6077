"""The output file: checked before work starts, written beside its final path, renamed when complete."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cals.errors import MediaError
from cals.files import AtomicFile, describe_os_error, suggest_path

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Supported suffixes of the output, and the FFmpeg name of each container."""


class OutputFile(AtomicFile):
    """An output file that appears under its name only when it is complete.

    Raises MediaError at once if no video can be written under this name.
    """

    def __init__(self, out: Path, *, force: bool, inputs: Iterable[Path]) -> None:
        self.container = CONTAINERS.get(out.suffix.lower(), "")
        if not self.container:
            suffixes = " ".join(CONTAINERS)
            raise MediaError(
                f"{out}: expected a name ending in one of {suffixes}, found '{out.suffix}'; rename the output"
            )
        check_output_path(out, force=force, reserved=inputs)
        try:
            super().__init__(out, replace=force)
        except OSError as error:
            raise MediaError(
                f"{out.parent}: expected a folder that can be written to, found: {describe_os_error(error)}; "
                "choose another --out"
            ) from error

    def commit(self) -> None:
        """Rename the finished file; MediaError if another file has that name by now and `force` is not set."""
        try:
            super().commit()
        except FileExistsError as error:
            raise build_conflict_error(self.path) from error


def check_output_path(path: Path, *, force: bool, reserved: Iterable[Path]) -> None:
    """Raise MediaError unless a new file can be written to `path`.

    Refused are a missing folder, a directory, one of `reserved`, and without `force` an existing file.
    """
    try:
        is_taken = _exists(path)
        resolved = Path(os.path.realpath(path))  # a link counts as its destination
        if resolved.is_symlink():
            raise MediaError(f"{path}: expected a file name, found a link that leads in a circle; choose another one")
        if not resolved.parent.is_dir():
            raise MediaError(
                f"{resolved.parent}: expected an existing folder, found none; {suggest_path(path) or 'create it first'}"
            )
        if resolved.is_dir():
            raise MediaError(f"{path}: expected a file name, found a directory; name a file inside it")
        for other in reserved:
            if str(resolved) == os.path.realpath(other) or (path.exists() and other.exists() and path.samefile(other)):
                raise MediaError(
                    f"{path}: expected a file of its own, apart from the inputs and other outputs, found {other} under "
                    "that name; choose another one"
                )
        if is_taken and not force:
            found = "a link to nowhere" if not path.exists() else "an existing one"
            raise MediaError(f"{path}: expected a new file, found {found}; use --force to replace it")
    except OSError as error:
        raise MediaError(
            f"{path}: expected a usable file name, found: {describe_os_error(error)}; choose another one"
        ) from error
    except ValueError as error:
        raise MediaError(f"{path}: expected a usable file name, found: {error}; choose another one") from error


def _exists(path: Path) -> bool:
    """Return whether the name is taken, also by a broken link; OSError where the name is invalid."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()
        return True
    return False


def build_conflict_error(path: Path) -> MediaError:
    """Build the error for a file that did not exist at the start but does at the end."""
    return MediaError(
        f"{path}: expected a new file, found one that another program wrote meanwhile; choose another name, or use "
        "--force to replace it"
    )


def build_write_error(out: Path, error: BaseException) -> MediaError:
    """Build the MediaError for a failed write."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        return MediaError(f"{out}: expected room for the video, found the disk full; free some space or choose another")
    if getattr(error, "errno", None) in (errno.EDQUOT, errno.EFBIG):
        return MediaError(
            f"{out}: expected room for the video, found a quota or size limit reached; choose another --out"
        )
    return MediaError(f"{out}: expected to write a video, found: {error}; choose another name, codec or disk")
