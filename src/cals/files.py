"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden path beside `path` to write to; on success it is synced and takes `path`'s place, else it is removed.

    Raises OSError as the file system does; the caller words it for its user.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(3)}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def why(error: OSError) -> str:
    """The system's own words for an error, without its numbers and paths."""
    return error.strerror or str(error)
