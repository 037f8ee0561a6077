"""Sessions: one for each open page, with a folder of its own, which goes when the page closes."""

import re
import secrets
import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cals.errors import CalsError, MediaError
from cals.web.faces import FirstFaces
from cals.web.jobs import Job

DAMAGED_OPTION = "Damaged files: take what can be read"
_ADVICE = {
    "use --keep-going": f"choose '{DAMAGED_OPTION}' in the options of the first tab",
    "choose another --person": "click another face",
    "choose another --out": "ask whoever runs this page to free some space",
}
"""Advice for the command line -> the same for the page."""


class Session:
    """What the server keeps for one open page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uploads: set[Path] = set()
        self.faces: FirstFaces | None = None
        """Faces of the uploaded video or photo."""
        self.job: Job[Any] | None = None

    def create_folder(self) -> Path:
        """Create a folder for the files of a job, under a name that nobody can guess."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder

    def begin(self, job: Job[Any]) -> None:
        """Keep a job, for `cancel`; one that still runs is cancelled."""
        self.cancel()
        self.job = job

    def cancel(self) -> None:
        """Cancel the job, if there is one."""
        if self.job is not None:
            self.job.cancel()


class Sessions:
    """All sessions, in folders below `root`; safe for threads.

    Uploads lie below `root` too, where Gradio puts equal files of several pages in one place: a file goes when the last
    page that uses it closes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def get(self, key: str | None) -> Session:
        """Return the session of a page, a new one where it has none yet."""
        with self._lock:
            session = self._sessions.get(key or "")
            if session is None:
                session = self._sessions[key or ""] = Session(self.root / secrets.token_hex(16))
            return session

    def take(self, session: Session, files: Iterable[str | Path | None]) -> list[Path]:
        """Return the paths of uploads, which are now the session's; MediaError for those that are none, or gone."""
        paths = []
        with self._lock:
            for file in files:
                path = Path(file or "")
                if not file or not path.resolve().is_relative_to(self.root.resolve()) or not path.is_file():
                    raise MediaError(f"{path.name}: expected an uploaded file, found none; choose it again")
                session.uploads.add(path)
                paths.append(path)
        return paths

    def close_all(self) -> None:
        """Close all sessions."""
        for key in list(self._sessions):
            self.close(key)

    def close(self, key: str | None) -> None:
        """Cancel the session's job and remove its files; harmless where there is none."""
        with self._lock:
            session = self._sessions.pop(key or "", None)
            if session is None:
                return
            in_use = {path for other in self._sessions.values() for path in other.uploads}
            session.cancel()
            for path in session.uploads - in_use:
                path.unlink(missing_ok=True)
                with suppress(OSError):  # another page's file came in just now
                    path.parent.rmdir()
        if session.job is not None:
            session.job.join()  # it may still write
        shutil.rmtree(session.folder, ignore_errors=True)

    def describe_error(self, error: BaseException) -> str:
        """Return what the page says of an error, without paths of this machine."""
        if not isinstance(error, CalsError):
            return f"That went wrong, and cals should have foreseen it: {type(error).__name__}. Try another file."
        text = re.sub(re.escape(str(self.root)) + r"\S*/", "", str(error))
        for option, advice in _ADVICE.items():
            text = text.replace(option, advice)
        return text
