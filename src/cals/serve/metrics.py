"""What the server counts, for Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from cals.serve.store import Job, JobStore

_METHODS = ("GET", "HEAD", "POST", "DELETE")
_BUCKETS_S = (1, 3, 10, 30, 100, 300, 1000, 3000)


class Metrics:
    """The counters of one server, apart from those of others in the same process."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        where: dict[str, Any] = {"registry": self._registry}
        self._states = Gauge("cals_jobs", "Jobs in the database by state", ["state"], **where)
        self._ends = Counter("cals_jobs_ended", "Jobs that ended, by state", ["state"], **where)
        self._wall = Histogram("cals_job_wall_seconds", "Duration of jobs that are done", buckets=_BUCKETS_S, **where)
        self._seconds = Counter("cals_video_seconds", "Length of the videos that were made", **where)
        self._deaths = Counter("cals_worker_deaths", "Tries that ended with their worker or a system error", **where)
        self._bytes = Counter("cals_upload_bytes", "Bytes of requests", **where)
        self._requests = Counter("cals_http_requests", "Requests", ["method", "path", "status"], **where)

    def count_end(self, job: Job) -> None:
        self._ends.labels(job.state).inc()
        if job.state == "done":
            self._wall.observe(job.wall_s)
            self._seconds.inc(job.seconds)

    def count_death(self) -> None:
        self._deaths.inc()

    def count_upload(self, size: int) -> None:
        self._bytes.inc(size)

    def count_request(self, method: str, path: str, status: int) -> None:
        """Count a request; `path` is that of a route, so that clients cannot invent labels."""
        self._requests.labels(method if method in _METHODS else "other", path, str(status)).inc()

    def render(self) -> bytes:
        """Return all in Prometheus' text format."""
        for state, count in self._store.count_states().items():
            self._states.labels(state).set(count)
        return generate_latest(self._registry)
