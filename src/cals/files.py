"""Files and folders that are written atomically."""

import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":  # there an open file cannot be removed, so no lock is needed
    import fcntl

_MAX_NAME_CHARACTERS = 24
"""Characters of a name that its partial file repeats: file systems limit names to 255 bytes, some to 143."""


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a new one survives a power cut; no-op where the system cannot."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class AtomicFile:
    """A hidden partial file beside `path`, which is renamed to `path` when it is complete.

    Where `path` is a link and `replace` is set, the file it points to is replaced. Partial files of this name that
    killed processes left are removed.
    Raises OSError as the file system does, and FileExistsError from `commit` when `path` exists and `replace` is not
    set. The caller turns them into a message for the user.
    """

    def __init__(self, path: Path, *, replace: bool = True) -> None:
        self.path = Path(os.path.realpath(path)) if replace and path.is_symlink() else path
        self._replace = replace
        self._prefix = f".{self.path.name[:_MAX_NAME_CHARACTERS]}."
        _remove_stale_partials(self.path.parent, self._prefix)
        self.partial, self._lock = _create_and_lock_file(self.path.parent, self._prefix)

    def rewrite(self, write: Callable[[Path, Path], bool]) -> None:
        """Replace the partial file by a second one that `write(first, second)` fills, or not if it returns False."""
        second, lock = _create_and_lock_file(self.path.parent, self._prefix)
        is_written = False
        try:
            is_written = write(self.partial, second)
        finally:
            if is_written:
                self.partial, second = second, self.partial
                self._lock, lock = lock, self._lock
            if lock is not None:
                os.close(lock)
            second.unlink(missing_ok=True)

    def commit(self) -> None:
        """Flush the finished file to disk and rename it to `path`."""
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        if self._replace:
            self.partial.replace(self.path)
        else:
            _rename_to_new(self.partial, self.path)
        sync_folder(self.path.parent)
        self._unlock()  # only now: an unlocked partial file would be removed as abandoned

    def discard(self) -> None:
        """Remove the unfinished file; harmless when it is finished or gone."""
        self._unlock()
        self.partial.unlink(missing_ok=True)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _create_and_lock_file(folder: Path, prefix: str) -> tuple[Path, int | None]:
    """Create a partial file; the handle holds a lock on it for as long as this process lives."""
    while True:
        partial = _choose_partial_path(folder, prefix)
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if sys.platform == "win32":
            os.close(handle)
            return partial, None
        if _lock(handle):
            return partial, handle


def _create_and_lock_folder(folder: Path, prefix: str) -> tuple[Path, int | None]:
    """Create a partial folder; the handle holds a lock on it for as long as this process lives."""
    while True:
        partial = _choose_partial_path(folder, prefix)
        partial.mkdir()
        if sys.platform == "win32":
            return partial, None
        with suppress(FileNotFoundError):
            handle = os.open(partial, os.O_RDONLY)
            if _lock(handle):
                return partial, handle


def _choose_partial_path(folder: Path, prefix: str) -> Path:
    return folder / f"{prefix}{secrets.token_hex(4)}.partial"


def _lock(handle: int) -> bool:
    """Lock a new file or folder; returns False, with the handle closed, if another process has removed it before."""
    if sys.platform != "win32":
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
    if os.fstat(handle).st_nlink:
        return True
    os.close(handle)
    return False


def _remove_stale_partials(folder: Path, prefix: str) -> None:
    """Remove partial files and folders that no living process has locked: their process was killed."""
    pattern = re.compile(re.escape(prefix) + r"[0-9a-f]{8}\.partial")
    for path in [entry for entry in folder.iterdir() if pattern.fullmatch(entry.name)]:
        with suppress(OSError):
            if sys.platform == "win32":
                _remove(path)
                continue
            handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _rename_to_new(partial: Path, path: Path) -> None:
    """Rename without replacing a file; a plain rename replaces on all systems but Windows."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links on this file system: reserve the name first
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        partial.replace(path)
    else:
        partial.unlink()


@contextmanager
def replace_atomically(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield the partial path of a `AtomicFile`, which is committed on success and discarded on any exception."""
    file = AtomicFile(path, replace=replace)
    try:
        yield file.partial
        file.commit()
    finally:
        file.discard()


@contextmanager
def replace_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder to fill, which replaces `folder` on success and is discarded on any exception.

    `folder` is complete at any time. Only a process that is killed between two renames leaves the older folder under a
    hidden name; `recover_folder` restores it.
    """
    recover_folder(folder)
    prefix = f".{folder.name[:_MAX_NAME_CHARACTERS]}."
    _remove_stale_partials(folder.parent, prefix)
    partial, lock = _create_and_lock_folder(folder.parent, prefix)
    try:
        yield partial
        for path in sorted(partial.rglob("*")):
            if path.is_dir():
                sync_folder(path)
                continue
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(partial)
        _replace_folder(partial, folder)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(partial, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Restore `folder` after a process was killed while it replaced it; no-op otherwise."""
    older = get_backup_folder(folder)
    if folder.exists():
        shutil.rmtree(older, ignore_errors=True)
    elif older.exists():
        older.replace(folder)


def get_backup_folder(folder: Path) -> Path:
    """Return the path of the older folder while it is being replaced."""
    folder = folder.absolute() if folder.name else folder.resolve()  # `.` has no name
    return folder.with_name(f".{folder.name}.old")


def _replace_folder(new: Path, folder: Path) -> None:
    try:
        if folder.exists():
            folder.replace(get_backup_folder(folder))
        new.replace(folder)
        sync_folder(folder.parent)
    finally:
        recover_folder(folder)


def describe_os_error(error: OSError) -> str:
    """Return the system's description of an error, without numbers and paths."""
    return error.strerror or str(error)


def suggest_path(path: Path) -> str:
    """Return a hint for a path that cannot name a file on any system; empty for all others."""
    if str(path) == "-":
        return "standard input and output cannot be used: name a file"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):  # two letters or more: "C:/" is a drive
        return "that is a web address: download it and name the file"
    return ""
