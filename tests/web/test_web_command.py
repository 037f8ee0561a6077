"""`cals web` tells in one line what it lacks."""

import sys

import pytest

from cals.cli import main


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["web", *arguments])
    assert stopped.value.code == 1


def test_a_host_for_others_needs_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    run("--host", "0.0.0.0")
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected 127.0.0.1 or a --token beside 0.0.0.0" in line


def test_without_gradio_it_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.startswith("cals.web.") and name != "cals.web.config"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)  # importing it now fails
    run()
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'cals[web]'" in line
