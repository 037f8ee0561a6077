"""What one client may ask for."""

from dataclasses import dataclass, fields

from cals.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """Limits of requests, jobs and the queue; ConfigError unless all are above 0."""

    max_upload_mb: float = 500
    """Largest request."""
    max_seconds: float = 600
    """Longest video and sound."""
    max_megapixels: float = 50
    """Largest picture."""
    max_queue: int = 1000
    """Most jobs that wait."""
    max_job_s: float = 3600
    """Longest time that a job may run."""
    keep_hours: float = 24
    """How long results are kept after a job has ended."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ConfigError(f"{field.name}: expected more than 0, found {value}; {field.default} is the default")

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_mb * 1e6)
