"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to disk, so that a new one survives a power cut; nothing where systems cannot."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class WholeFile:
    """A hidden file beside `path` to write to, which takes `path`'s place when it is complete.

    Raises OSError as the file system does; the caller words it for its user.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
        self.partial.touch(exist_ok=False)

    def commit(self) -> None:
        """Flush the finished file to disk and give it its name."""
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        self.partial.replace(self.path)
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove the unfinished file; harmless when it is finished or gone."""
        self.partial.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The partial path of a `WholeFile` that is committed on success and discarded on any exception."""
    file = WholeFile(path)
    try:
        yield file.partial
        file.commit()
    finally:
        file.discard()


def why(error: OSError) -> str:
    """The system's own words for an error, without its numbers and paths."""
    return error.strerror or str(error)
