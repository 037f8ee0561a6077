"""Config of the page: where it listens, who may use it, and how much it takes."""

from dataclasses import dataclass
from pathlib import Path

from cals import hub
from cals.errors import ConfigError
from cals.options import Precision

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_MIN_TOKEN_CHARACTERS = 12


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """Options of the server; ConfigError for values out of range, and for a public `host` without a `token`."""

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    """Secret that a browser has to show; needed unless `host` is this machine alone."""
    max_mb: int = 500
    """Largest upload."""
    max_minutes: float = 10.0
    """Longest video or speech."""

    def __post_init__(self) -> None:
        if not self.is_local and self.token is None:
            raise ConfigError(
                f"host: expected {LOCAL_HOSTS[0]} or a --token beside {self.host}, found no token; give one of "
                f"{_MIN_TOKEN_CHARACTERS} characters or more, which those who may use the page know"
            )
        if self.token is not None and (
            len(self.token) < _MIN_TOKEN_CHARACTERS or not (self.token.isascii() and self.token.isalnum())
        ):
            raise ConfigError(
                f"token: expected {_MIN_TOKEN_CHARACTERS} or more letters and digits, found another text; choose a "
                "random one"
            )
        if not 0 <= self.port < 1 << 16:
            raise ConfigError(f"port: expected 0 to 65535, found {self.port}; 7860 is the default")
        if self.max_mb < 1 or self.max_minutes <= 0:
            raise ConfigError(
                f"limits: expected at least 1 MB and some time, found {self.max_mb} MB and {self.max_minutes:g} "
                "minutes; give more"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        return self.host in LOCAL_HOSTS

    @property
    def max_s(self) -> float:
        """Longest video or speech in seconds."""
        return 60 * self.max_minutes


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Arguments of `LipSync` for the page."""

    model: str = hub.DEFAULT_MODEL
    face_models: Path | None = None
    device: str = "cpu"
    batch: int = 8
    precision: Precision = "auto"
