"""The queue: jobs and their states in an SQLite database that survives a crash at any moment."""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from cals.errors import ConfigError
from cals.inference.batch import FAILED, Outcome
from cals.serve.config import make_encodable

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: Final = ("queued", "running", "done", "failed", "cancelled")
ENDED: Final = ("done", "failed", "cancelled")
_IS_ENDED = "state IN ('done', 'failed', 'cancelled')"
_LOCK_TIMEOUT_S = 5.0
MAX_STARTS = 5
"""How often a job is begun; beyond that it is the likely reason why the server was killed each time."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    row TEXT NOT NULL,
    key TEXT UNIQUE,
    digest TEXT NOT NULL,
    created_s REAL NOT NULL,
    started_s REAL,
    ended_s REAL,
    starts INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0,
    summary TEXT NOT NULL DEFAULT '',
    frames INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    wall_s REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, number);
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the database has it."""

    number: int
    """Place in the order of arrival."""
    id: str
    state: State
    row: dict[str, Any]
    """Cells of a row of a batch."""
    key: str | None
    """Idempotency key of the client."""
    digest: str
    """Of the request, to tell whether another one with this key is the same."""
    created_s: float
    started_s: float | None
    ended_s: float | None
    starts: int
    deaths: int
    """How often its worker died."""
    cancel: bool
    """Whether it is to be cancelled."""
    summary: str
    """The report in one line, or the error."""
    frames: int
    seconds: float
    wall_s: float

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


_COLUMNS = ", ".join(field.name for field in fields(Job))


class JobStore:
    """The database of one server, which holds a lock on it; ConfigError where another one does."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            with self._transact() as database:
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
        except sqlite3.Error as error:
            raise ConfigError(
                f"{path}: expected a database of this server alone, found: {error}; end the other server, or name "
                "another folder"
            ) from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def recover(self) -> None:
        """Put jobs that ran when the server was killed back into the queue."""
        text = f"job: expected a server that outlives it, found it killed {MAX_STARTS} times; send less at once"
        with self._transact() as database:
            database.execute(
                "UPDATE jobs SET state = CASE WHEN cancel THEN 'cancelled' ELSE 'failed' END, ended_s = ?, "
                "summary = CASE WHEN cancel THEN '' ELSE ? END WHERE state = 'running' AND (cancel OR starts >= ?)",
                (*_now(), text, MAX_STARTS),
            )
            database.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")

    def add(self, job_id: str, row: dict[str, Any], digest: str, key: str | None) -> Job:
        """Queue a job and return it; where the key is known, return the job that has it instead."""
        with self._transact() as database:
            known = self._select("key = ?", key) if key is not None else []
            if known:
                return known[0]
            database.execute(
                "INSERT INTO jobs (id, state, row, key, digest, created_s) VALUES (?, 'queued', ?, ?, ?, ?)",
                (job_id, json.dumps(row), key, digest, *_now()),
            )
            return self._select("id = ?", job_id)[0]

    def find(self, job_id: str) -> Job | None:
        with self._lock:
            return next(iter(self._select("id = ?", job_id)), None)

    def find_key(self, key: str) -> Job | None:
        with self._lock:
            return next(iter(self._select("key = ?", key)), None)

    def list_jobs(self, state: str | None = None, count: int = 100) -> list[Job]:
        """Return the latest jobs, those of one state where asked for."""
        with self._lock:
            if state is None:
                return self._select("1 ORDER BY number DESC LIMIT ?", count)
            return self._select("state = ? ORDER BY number DESC LIMIT ?", state, count)

    def list_ids(self) -> set[str]:
        with self._lock:
            return {name for (name,) in self._database.execute("SELECT id FROM jobs")}

    def list_expired_jobs(self, keep_s: float) -> list[Job]:
        """Return jobs that ended more than `keep_s` seconds ago."""
        with self._lock:
            return self._select(f"{_IS_ENDED} AND ended_s < ?", time.time() - keep_s)

    def count_states(self) -> dict[str, int]:
        with self._lock:
            counted = dict(self._database.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
        return {state: counted.get(state, 0) for state in STATES}

    def count_before(self, job: Job) -> int:
        """Count the jobs that wait before this one."""
        with self._lock:
            query = "SELECT count(*) FROM jobs WHERE state = 'queued' AND number < ?"
            return int(self._database.execute(query, (job.number,)).fetchone()[0])

    def claim(self) -> Job | None:
        """Take the longest-waiting job to run it."""
        with self._transact() as database:
            waiting = self._select("state = 'queued' ORDER BY number LIMIT 1")
            if not waiting:
                return None
            number = waiting[0].number
            database.execute(
                "UPDATE jobs SET state = 'running', started_s = ?, starts = starts + 1 WHERE number = ?",
                (*_now(), number),
            )
            return self._select("number = ?", number)[0]

    def finish(self, job_id: str, outcome: Outcome) -> Job:
        """Note what became of a running job; one that is to be cancelled is."""
        state, summary = "failed" if outcome.status == FAILED else "done", make_encodable(outcome.summary)
        with self._transact() as database:
            database.execute(
                "UPDATE jobs SET state = CASE WHEN cancel THEN 'cancelled' ELSE ? END, "
                "summary = CASE WHEN cancel THEN '' ELSE ? END, frames = ?, seconds = ?, wall_s = ?, ended_s = ? "
                "WHERE id = ? AND state = 'running'",
                (state, summary, outcome.frames, outcome.seconds, outcome.wall_s, *_now(), job_id),
            )
            return self._select("id = ?", job_id)[0]

    def put_back(self, job_id: str, *, has_died: bool) -> None:
        """Queue a running job again, since its worker died or the server ends; one that is to be cancelled is."""
        with self._transact() as database:
            database.execute(
                "UPDATE jobs SET state = CASE WHEN cancel THEN 'cancelled' ELSE 'queued' END, "
                "ended_s = CASE WHEN cancel THEN ? END, deaths = deaths + ?, starts = starts - 1 "
                "WHERE id = ? AND state = 'running'",
                (*_now(), has_died, job_id),
            )

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a waiting job, and note that a running one is to be; None if there is no such job."""
        with self._transact() as database:
            database.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'", (job_id,))
            database.execute(
                "UPDATE jobs SET cancel = 1, state = 'cancelled', ended_s = ? WHERE id = ? AND state = 'queued'",
                (*_now(), job_id),
            )
            return next(iter(self._select("id = ?", job_id)), None)

    def remove(self, job_id: str) -> None:
        """Forget a job that has ended."""
        with self._transact() as database:
            database.execute(f"DELETE FROM jobs WHERE id = ? AND {_IS_ENDED}", (job_id,))

    def _select(self, condition: str, *values: Any) -> list[Job]:
        names = [field.name for field in fields(Job)]
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM jobs WHERE {condition}", values)
        return [_read_job(dict(zip(names, row, strict=True))) for row in rows]

    @contextmanager
    def _transact(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def create_id() -> str:
    """Return an identifier that nobody can guess."""
    return secrets.token_hex(16)


def _read_job(row: dict[str, Any]) -> Job:
    return Job(**row | {"row": json.loads(row["row"]), "cancel": bool(row["cancel"])})


def _now() -> tuple[float]:
    return (time.time(),)
