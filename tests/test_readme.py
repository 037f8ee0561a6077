"""Every command and every Python block of the README runs as it stands, and all links of the docs lead somewhere."""

import re
import shlex
import shutil
from pathlib import Path

import av
import pytest

from cals.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands(clone: Path) -> None:
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("cals ")]
    assert len(commands) >= 4
    for command in commands:
        main(shlex.split(command, comments=True)[1:])
    assert (clone / "talking.mp4").stat().st_size > 10_000
    with av.open(str(clone / "talking.mp4")) as container:
        comment = container.metadata["comment"]
    assert "model grid-small" in comment  # what ships is what speaks
    assert (clone / "talking.track.json").is_file()
    assert (clone / "faces.png").is_file()


def test_python_blocks(clone: Path) -> None:
    code = blocks("python")
    assert code
    for block in code:
        exec(compile(block, "README.md", "exec"), {})
    assert (clone / "python.mp4").is_file()


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"^make (\w+)", "\n".join(blocks("bash")), flags=re.MULTILINE))
    assert named == {"demo", "test"}
    assert named <= targets


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"]
    for page in [*pages, *sorted((ROOT / "docs").glob("*.md"))]:
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"
