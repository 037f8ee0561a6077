"""A server without workers with a client in this process, and servers as processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cals.options import override
from cals.serve.app import build_app
from cals.serve.config import ServeConfig
from cals.serve.limits import ServeLimits
from cals.serve.runner import Runner
from cals.serve.service import Service
from serve_process import TOKEN, ServerProcess


class IdleRunner(Runner):
    """A runner without workers."""

    def start(self) -> None:
        pass


@pytest.fixture
def start_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Service, TestClient]]]:
    """Start a server without workers, and a client that has its token."""
    monkeypatch.setattr("cals.serve.service.Runner", IdleRunner)
    with ExitStack() as stack:

        def start(**settings: Any) -> tuple[Service, TestClient]:
            limits = override(ServeLimits(), settings)
            config = ServeConfig(**{"data": tmp_path / "data", "token": TOKEN, "limits": limits, **settings})
            service = stack.enter_context(Service(config))
            client = TestClient(build_app(service), base_url="http://localhost", raise_server_exceptions=False)
            if config.token is not None:
                client.headers["Authorization"] = f"Bearer {config.token}"
            return service, client

        yield start


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    servers: list[ServerProcess] = []

    def start(*arguments: str) -> ServerProcess:
        servers.append(ServerProcess(tmp_path / "data", *arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
