"""The server process: socket, service and HTTP."""

import logging
import socket
from collections.abc import Callable

import uvicorn

from cals.errors import ConfigError
from cals.files import describe_os_error
from cals.serve.app import build_app
from cals.serve.config import ServeConfig
from cals.serve.service import Service

_MAX_CONNECTIONS = 512
_END_S = 5
"""Time that open requests have when the server ends."""


def serve(config: ServeConfig, announce: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, which then goes on to the handler that was there before.

    `announce` is called with the address once clients can connect. Raises ConfigError where the server cannot listen or
    its folder cannot be used, CheckpointError where the model is missing.
    """
    with _listen(config) as listener, Service(config) as service:
        settings = uvicorn.Config(
            build_app(service),
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_END_S,
        )
        if announce is not None:
            host = f"[{config.host}]" if ":" in config.host else config.host
            announce(f"http://{host}:{listener.getsockname()[1]}")
        uvicorn.Server(settings).run(sockets=[listener])


def _listen(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=256)
    except OSError as error:
        raise ConfigError(
            f"{config.host}:{config.port}: expected to listen there, found {describe_os_error(error)}; choose another "
            "--port or --host"
        ) from error
