"""The folder of the server: the database, and a folder a job with names that no client chose."""

import json
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from cals.errors import ConfigError
from cals.files import describe_os_error
from cals.serve.store import Job, JobStore

_log = logging.getLogger(__name__)

UPLOADS = ("face", "audio", "voice", "pose", "segments")
"""Fields of a job that are files, and the names they are stored under; `segments` also has its suffix."""
VOICES = "voices"
"""The field of a job that is any number of files, and the folder in which they are stored by number."""
REPORT = "report.json"
_RESULT = "result."
_PROGRESS = "progress.json"
_PROGRESS_STEP_S = 0.25
_REMOVALS, _REMOVAL_STEP_S = 5, 0.2


class JobFolders:
    """Folders of the jobs below the server's own; ConfigError where it cannot be used."""

    def __init__(self, data: Path) -> None:
        self.data = data.absolute()
        self._jobs = self.data / "jobs"
        try:
            self._jobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"{data}: expected a folder for jobs, found {describe_os_error(error)}; name another"
            ) from error
        self.database = self.data / "jobs.sqlite"

    def locate(self, job_id: str) -> Path:
        """Return the folder of a job; `job_id` comes from the database or `create_id`, never from a client."""
        return self._jobs / job_id

    def create(self, job_id: str) -> Path:
        folder = self.locate(job_id)
        folder.mkdir(mode=0o700)
        return folder

    def remove(self, job_id: str) -> None:
        folder = self.locate(job_id)
        for _ in range(_REMOVALS):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                return
            time.sleep(_REMOVAL_STEP_S)  # a worker of a cluster that was just killed may still write

    def locate_result(self, job_id: str, container: str) -> Path:
        """Return the path of the video that a job writes."""
        return self.locate(job_id) / f"{_RESULT}{container}"

    def remove_uploads(self, job_id: str) -> None:
        """Remove what is needed only until the job has ended, and what killed workers left."""
        with suppress(OSError):
            for path in self.locate(job_id).iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != REPORT and not path.name.startswith(_RESULT):
                    path.unlink(missing_ok=True)

    def remove_strangers(self, store: JobStore) -> None:
        """Remove the folders of requests that a killed server did not finish, and uploads of jobs that have ended."""
        known = store.list_ids()
        for folder in self._jobs.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
            elif (job := store.find(folder.name)) is not None and job.has_ended:
                self.remove_uploads(job.id)

    def remove_expired_jobs(self, store: JobStore, keep_s: float) -> int:
        """Remove jobs that ended more than `keep_s` seconds ago; returns how many."""
        expired = store.list_expired_jobs(keep_s)
        for job in expired:
            self.remove(job.id)
            store.remove(job.id)
        return len(expired)

    def read_progress(self, job: Job) -> dict[str, Any]:
        """Return the frames that are done and those there will be, None where that is not known yet."""
        if job.state == "done":
            return {"frames": job.frames, "total": job.frames}
        with suppress(OSError, ValueError):
            progress = json.loads((self.locate(job.id) / _PROGRESS).read_text(encoding="utf-8"))
            if isinstance(progress, dict) and not job.has_ended:
                return progress
        return {"frames": 0, "total": None}

    def clean(self, text: str, inputs: Path | None) -> str:
        """Return a message without the server's folders, which are none of the client's business."""
        roots = [self._jobs, *([] if inputs is None else [inputs.absolute(), inputs.resolve()])]
        for root in sorted({str(root) for root in roots}, key=len, reverse=True):
            text = text.replace(f"{root}/", "")
        return text


class ProgressFile:
    """What a worker tells the server: a small file in the job's folder, since workers may be on other machines."""

    def __init__(self, folder: Path) -> None:
        self._path, self._partial = folder / _PROGRESS, folder / f".{_PROGRESS}"
        self._written_s = 0.0

    def write(self, done: int, total: int | None) -> None:
        now_s = time.monotonic()
        if now_s - self._written_s < _PROGRESS_STEP_S:
            return
        self._written_s = now_s
        with suppress(OSError):  # progress is not worth a job
            self._partial.write_text(json.dumps({"frames": done, "total": total}), encoding="utf-8")
            self._partial.replace(self._path)
