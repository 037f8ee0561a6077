"""Files and folders that appear whole or not at all."""

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":  # there no file that is open can be removed, so that none needs a lock
    import fcntl

_NAME_CHARACTERS = 24
"""How much of a name its partial file repeats: file systems limit names to 255 bytes, some to 143."""


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

    Where `path` is a link and may be replaced, what it points to is. Partial files that killed processes left of
    outputs of this name are removed.
    Raises OSError as the file system does, FileExistsError from `commit` when `path` exists unless `replace`; the
    caller words it for its user.
    """

    def __init__(self, path: Path, *, replace: bool = True) -> None:
        self.path = Path(os.path.realpath(path)) if replace and path.is_symlink() else path
        self._replace = replace
        start = f".{self.path.name[:_NAME_CHARACTERS]}."
        _remove_abandoned(self.path.parent, start)
        self.partial, self._lock = _locked_file(self.path.parent, start)

    def commit(self) -> None:
        """Flush the finished file to disk and give it its name."""
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        if self._replace:
            self.partial.replace(self.path)
        else:
            _rename_to_new(self.partial, self.path)
        sync_folder(self.path.parent)
        self._unlock()  # not earlier: without a lock it would be taken for abandoned

    def discard(self) -> None:
        """Remove the unfinished file; harmless when it is finished or gone."""
        self._unlock()
        self.partial.unlink(missing_ok=True)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked_file(folder: Path, start: str) -> tuple[Path, int | None]:
    """A new partial file, with a handle that holds a lock on it for as long as this process lives."""
    while True:
        partial = _partial(folder, start)
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if sys.platform == "win32":
            os.close(handle)
            return partial, None
        if _lock(handle):
            return partial, handle


def _locked_folder(folder: Path, start: str) -> tuple[Path, int | None]:
    """A new partial folder, likewise."""
    while True:
        partial = _partial(folder, start)
        partial.mkdir()
        if sys.platform == "win32":
            return partial, None
        with suppress(FileNotFoundError):
            handle = os.open(partial, os.O_RDONLY)
            if _lock(handle):
                return partial, handle


def _partial(folder: Path, start: str) -> Path:
    return folder / f"{start}{secrets.token_hex(4)}.partial"


def _lock(handle: int) -> bool:
    """Lock a new file or folder; closes it when another process took it for abandoned before that."""
    if sys.platform != "win32":
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
    if os.fstat(handle).st_nlink:
        return True
    os.close(handle)
    return False


def _remove_abandoned(folder: Path, start: str) -> None:
    """Remove partial files and folders that no living process holds: theirs was killed."""
    pattern = re.compile(re.escape(start) + r"[0-9a-f]{8}\.partial")
    for left in [entry for entry in folder.iterdir() if pattern.fullmatch(entry.name)]:
        with suppress(OSError):
            if sys.platform == "win32":
                _remove(left)
                continue
            handle = os.open(left, os.O_RDONLY if left.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(left)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _rename_to_new(partial: Path, path: Path) -> None:
    """Rename without ever replacing; a plain rename does replace, on all systems but Windows."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # no links on this file system: claim the name first
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        partial.replace(path)
    else:
        partial.unlink()


@contextmanager
def replacing(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """The partial path of a `WholeFile` that is committed on success and discarded on any exception."""
    file = WholeFile(path, replace=replace)
    try:
        yield file.partial
        file.commit()
    finally:
        file.discard()


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to fill, which takes the place of `folder` when it is whole, and is discarded on any exception.

    Whatever happens, a whole folder has the name afterwards, and no other stays. Only a process killed between two
    renames leaves the older one under a hidden name, from which `recover_folder` gives it back.
    """
    recover_folder(folder)
    start = f".{folder.name[:_NAME_CHARACTERS]}."
    _remove_abandoned(folder.parent, start)
    partial, lock = _locked_folder(folder.parent, start)
    try:
        yield partial
        for path in sorted(partial.rglob("*")):
            if path.is_dir():
                sync_folder(path)
                continue
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(partial)
        _swap(partial, folder)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(partial, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Finish what a process that was killed while it replaced `folder` had begun; harmless otherwise."""
    older = older_folder(folder)
    if folder.exists():
        shutil.rmtree(older, ignore_errors=True)
    elif older.exists():
        older.replace(folder)


def older_folder(folder: Path) -> Path:
    """Where a folder waits while its successor takes its place."""
    return folder.with_name(f".{folder.name}.old")


def _swap(new: Path, folder: Path) -> None:
    try:
        if folder.exists():
            folder.replace(older_folder(folder))
        new.replace(folder)
        sync_folder(folder.parent)
    finally:
        recover_folder(folder)


def why(error: OSError) -> str:
    """The system's own words for an error, without its numbers and paths."""
    return error.strerror or str(error)


def hint_for(path: Path) -> str:
    """What to do instead of a name that stands for no file on any system; empty for all others."""
    if str(path) == "-":
        return "standard input and output cannot be used: name a file"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):  # two letters or more: "C:/" is a drive
        return "that is a web address: download it and name the file"
    return ""
