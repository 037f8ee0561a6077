"""Errors of a device that is not there."""

from collections.abc import Iterator
from contextlib import contextmanager

from cals.errors import ConfigError


@contextmanager
def convert_device_errors(device: str) -> Iterator[None]:
    """Convert torch's errors of moving a network to a device that is not there into a ConfigError."""
    try:
        yield
    except (RuntimeError, AssertionError) as error:  # torch has both
        raise ConfigError(
            f"device: expected cpu, cuda or another that this torch has, found {device!r}; choose one that is there"
        ) from error
