"""The command as a whole: what it prints and how it ends, whatever it is given."""

import os
import subprocess
import sys

import pytest

import cals
from cals import cli
from cals.errors import MediaError


def run_failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command that fails; return its exit status and stderr."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    return int(end.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "parts"),
    [
        (MediaError("a.mp4: expected a\nvideo, found none"), 1, ["cals: a.mp4: expected a video, found none"]),
        (ValueError("29 is not\na valid Type"), 1, ["ValueError: 29 is not a valid Type", "report it", "--debug"]),
        (AssertionError(), 1, ["AssertionError", "report it"]),
        (MemoryError(), 1, ["MemoryError"]),
        (ModuleNotFoundError("No module named torch", name="torch"), 1, ["cals: expected torch", "pip install torch"]),
        (KeyboardInterrupt(), 130, ["stopped"]),
    ],
)
def test_any_error_is_one_line(capsys, monkeypatch, error, status, parts):
    def command() -> None:
        raise error

    monkeypatch.setattr(cli, "COMMANDS", {"fail": command, "other": command})
    code, text = run_failing(capsys, "fail")
    assert code == status
    assert text.count("\n") == 1
    assert all(part in text for part in parts)
    with pytest.raises(type(error)):
        cli.main(["fail", "--debug"])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["genrate", "--face", "a"], ["did you mean generate?"]),
        (["Track", "a.mp4"], ["did you mean track?"]),
        (["xyzzy"], ["choose one of generate, batch, web, "]),
        (["generate", "--face", "-dash.mp4", "--out", "b.mp4"], ["--face: ", "'./-dash.mp4'"]),
        (["track", "-dash.mp4"], ["'./-dash.mp4'"]),
    ],
)
def test_hints(capsys, arguments, parts):
    status, text = run_failing(capsys, *arguments)
    assert status == 2
    assert text.count("\n") == 1
    assert all(part in text for part in parts)


@pytest.mark.parametrize("name", ["-", "https://host/a.mp4"])
def test_names_that_are_no_files(capsys, tmp_path, name):
    status, text = run_failing(capsys, "track", name, "--out", str(tmp_path / "a.json"))
    assert status == 1
    assert text.count("\n") == 1
    assert ("standard input" if name == "-" else "download it") in text


def test_negative_numbers_are_no_file_names():
    arguments = ["generate", "--strength", "-0.5", "--person", "-1.5,2@3", "--face", "./-dash.mp4"]
    assert cli.hints.find_hint(arguments, cli.COMMANDS) is None


@pytest.mark.parametrize("arguments", [["-m", "cals"], ["-c", "from cals.cli import main; main()"]])
def test_version(arguments):
    result = subprocess.run([sys.executable, *arguments, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"cals {cals.__version__}\n"
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "before", "after"),
    [
        (["doctor"], None, "passive"),
        (["doctor"], "active", "active"),
        (["train"], None, None),
    ],
)
def test_threads_of_a_process_sleep_before_torch_starts_them(monkeypatch, arguments, before, after) -> None:
    policies: list[str | None] = []

    def command() -> None:
        policies.append(os.environ.get("OMP_WAIT_POLICY"))

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if before is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    monkeypatch.setattr(cli, "COMMANDS", {arguments[0]: command, "other": command})
    monkeypatch.setattr(cli.process, "freeze_imports", lambda: None)  # of this process it would be for good
    monkeypatch.setattr(sys, "argv", ["cals", *arguments])
    cli.main()
    assert policies == [after]
    os.environ.pop("OMP_WAIT_POLICY", None)


def test_the_command_does_not_import_torch_before_it_sets_that() -> None:
    code = "import sys, cals.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
