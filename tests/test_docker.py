"""The container files start commands that exist, need a token, and name no registry and no missing file."""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cals import cli

ROOT = Path(__file__).parents[1]
IMAGES = sorted((ROOT / "docker").glob("Dockerfile*"))
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


def read_commands() -> list[list[str]]:
    """Return the command lines of all images and services, with values in place of variables."""
    lines = [line for path in IMAGES for line in path.read_text().splitlines() if line.startswith('CMD ["serve"')]
    commands = [json.loads(line.removeprefix("CMD ")) for line in lines]
    for text in re.findall(r"^    command: \[(.*)\]$", COMPOSE, flags=re.MULTILINE):
        plain = re.sub(r'"?\$\{\w+:\?\}"?', "sixteen0letters0", text)
        commands.append([word.strip() for word in plain.split(",")])
    return commands


def test_commands_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def record(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def call(**arguments: Any) -> None:
            calls.append(arguments)

        return call

    monkeypatch.setattr(cli, "COMMANDS", {name: record(function) for name, function in cli.COMMANDS.items()})
    commands = [command for command in read_commands() if command[0] in cli.COMMANDS]
    for command in commands:
        cli.main(command)
    assert len(calls) == len(commands) >= 3
    assert all(arguments["host"] == "0.0.0.0" for arguments in calls)
    api = [arguments for arguments in calls if "data" in arguments]
    assert {(arguments["data"], arguments["inputs"]) for arguments in api} == {(Path("/data"), Path("/inputs"))}
    assert {arguments["device"] for arguments in api} == {"cpu", "cuda"}


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_are_built_of_what_is_there(path: Path) -> None:
    text, ignored = path.read_text(), (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, flags=re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
            assert f"!{name}" in ignored, name
    assert re.findall(r"^USER (.*)$", text, flags=re.MULTILINE) == ["10001:10001"]
    assert re.search(r"^HEALTHCHECK ", text, flags=re.MULTILINE)
    assert not re.search(r"https?://(?!127\.0\.0\.1)", text + COMPOSE.replace("http://localhost", ""))
    assert not re.search(r"(?im)^(ENV|ARG).*(token|secret)", text)


def test_services_need_a_token() -> None:
    assert COMPOSE.count("${CALS_TOKEN:?") == 2
    assert COMPOSE.count("${CALS_BIND:-127.0.0.1}") == 2
