"""Settings of the server, and the errors of its requests."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path

from cals.errors import CalsError, ConfigError
from cals.inference.batch import BatchConfig
from cals.media.intake import IntakeLimits
from cals.serve.limits import ServeLimits

MIN_TOKEN_CHARACTERS = 16
_TOKEN = re.compile(r"[\x21-\x7e]+")


class RequestError(CalsError):
    """A request that is refused with an HTTP status; the message is told to the client."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def refuse(message: str) -> RequestError:
    """Build the error for a request that can never be a job, in one line."""
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, make_encodable(" ".join(message.split())))


def make_encodable(text: str) -> str:
    """Return a text with escapes for what UTF-8 has not: halves of characters in JSON, other bytes in file names."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Settings of the server; ConfigError for those that cannot be used."""

    data: Path
    """Folder of the server alone, for its database and the files of jobs."""
    inputs: Path | None = None
    """Folder below which jobs may name files instead of sending them; none by default."""
    host: str = "127.0.0.1"
    """Where to listen: 0.0.0.0 for the whole network."""
    port: int = 8000
    token: str | None = None
    """What clients send as `Authorization: Bearer`; 16 characters or more, required where others can reach the host."""
    names: tuple[str, ...] = ()
    """Names under which clients reach the server, beside `host`, localhost and plain addresses."""
    origins: tuple[str, ...] = ()
    """Sites whose pages may send jobs, such as https://example.org."""
    workers: int = 1
    """Processes, each with a model of its own; with `ray` 0 is all processors of the cluster."""
    ray: str | None = None
    """Address of a Ray cluster that works on the jobs."""
    limits: ServeLimits = field(default_factory=ServeLimits)
    """What one client may ask for."""
    batch: BatchConfig = field(default_factory=BatchConfig)
    """How jobs are done."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise ConfigError(f"port: expected 0 to 65535, found {self.port}; 8000 is the default")
        if self.token is not None and (len(self.token) < MIN_TOKEN_CHARACTERS or not _TOKEN.fullmatch(self.token)):
            raise ConfigError(
                f"token: expected {MIN_TOKEN_CHARACTERS} or more letters and digits, found {len(self.token)} "
                "characters; `openssl rand -hex 32` makes one"
            )
        if self.inputs is not None and not self.inputs.is_dir():
            raise ConfigError(f"{self.inputs}: expected a folder of inputs, found none; create it or name another")

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach the server."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def intake(self) -> IntakeLimits:
        """Limits of files."""
        return IntakeLimits(seconds=self.limits.max_seconds, pixels=int(self.limits.max_megapixels * 1e6))
