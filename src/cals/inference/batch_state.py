"""State of the jobs of a batch: a small file a job, by which a whole output is known and not made again."""

import dataclasses
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cals.errors import MediaError
from cals.files import describe_os_error, replace_atomically
from cals.inference.batch_jobs import BatchJob

FORMAT = 1
SUFFIX = ".job.json"


class JobState:
    """The state file of one job: what its output is made from, and the output's sha256 once it is whole.

    It lies beside the output or in `folder`. Inputs count as unchanged while their size and time of modification are:
    to hash an hour of video takes as long as to decode it. Outputs are hashed.
    """

    def __init__(self, job: BatchJob, settings: dict[str, Any], folder: Path | None = None) -> None:
        self._job = job
        self.path = locate_state(job, folder)
        self._origin = {
            "format": FORMAT,
            **settings,
            "inputs": [[os.path.realpath(path), stat_file(path)] for path in job.inputs],
            "outputs": [os.path.realpath(path) for path in job.outputs],
            "options": dataclasses.asdict(replace(job.options, pose=None)),  # the pose is an input
            "encode": dataclasses.asdict(job.encode),
            **_describe_dub(job),
        }
        try:
            self._before: str | None = self.path.read_text(encoding="utf-8")
            document = json.loads(self._before)
            self._known = document if document.keys() == {"origin", "outputs"} else {}
        except (OSError, ValueError, AttributeError):
            self._before, self._known = None, {}

    def is_done(self) -> bool:
        """Return whether all outputs are whole, and were made from these inputs and settings."""
        hashes = self._hash_outputs()
        return self._known.get("origin") == self._origin and None not in hashes.values() and self._is_own(hashes)

    def may_overwrite(self) -> bool:
        """Return whether what lies under the outputs' names is nothing, or was left by a run of this job."""
        return self._is_own(self._hash_outputs())

    def _is_own(self, hashes: dict[str, str | None]) -> bool:
        known = self._known.get("outputs")
        if known is None:  # broken off: what it left has no hash yet
            origin = self._known.get("origin")
            own = origin["outputs"] if isinstance(origin, dict) else []
            return all(value is None or path in own for path, value in hashes.items())
        return all(value is None or value == known.get(path) for path, value in hashes.items())

    def begin(self) -> None:
        """Note that the outputs are about to be replaced."""
        self._write({"origin": self._origin, "outputs": None})

    def complete(self) -> None:
        """Note that the outputs are whole."""
        self._write({"origin": self._origin, "outputs": self._hash_outputs()})

    def abandon(self) -> None:
        """Restore the file as it was before `begin`, since the outputs were not replaced."""
        if self._before is None:
            self.path.unlink(missing_ok=True)
        else:
            with replace_atomically(self.path) as partial:
                partial.write_text(self._before, encoding="utf-8")

    def _hash_outputs(self) -> dict[str, str | None]:
        """Return the sha256 of each output by its path, None where there is none."""
        return {os.path.realpath(path): _hash_file(path) for path in self._job.outputs}

    def _write(self, document: dict[str, Any]) -> None:
        try:
            with replace_atomically(self.path) as partial:
                partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise MediaError(
                f"{self.path}: expected to write the state of the job, found {describe_os_error(error)}; free some "
                "space, or name another folder for the state"
            ) from error


def _describe_dub(job: BatchJob) -> dict[str, Any]:
    """Describe what only some jobs have, so that the states of others stay as they were."""
    described: dict[str, Any] = {} if job.voice is None else {"voice": str(job.voice)}
    if job.dub is not None:
        described["dub"] = json.loads(json.dumps(dataclasses.asdict(job.dub), default=str))
    return described


def locate_state(job: BatchJob, folder: Path | None) -> Path:
    """Return the path of a job's state file."""
    if folder is None:
        return job.out.with_name(job.out.name + SUFFIX)
    place = hashlib.sha256(os.path.realpath(job.out).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return folder / f"{job.out.stem[:80]}-{place}{SUFFIX}"


def stat_file(path: Path) -> list[int] | None:
    """Return size and time of modification in nanoseconds of a file; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _hash_file(path: Path) -> str | None:
    if not os.path.lexists(path):
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # not one that was written
