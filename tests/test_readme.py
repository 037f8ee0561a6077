"""Commands and Python blocks of the README and the user pages run as they stand; links and names in the docs exist."""

import ast
import re
import shlex
import shutil
from pathlib import Path
from pkgutil import resolve_name

import av
import pytest

from cals.cli import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RUN = [
    README,
    *(ROOT / "docs" / page for page in ("generate.md", "api.md", "provenance.md")),
    *sorted((ROOT / "docs" / "guide").glob("*.md")),
]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "examples" / "README.md", *DOCS]


def blocks(language: str, *pages: Path) -> list[str]:
    texts = [page.read_text(encoding="utf-8") for page in pages]
    return [
        b for text in texts for b in re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    ]


def is_there(name: str) -> bool:
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands(clone: Path) -> None:
    lines = [line for block in blocks("bash", *RUN) for line in block.splitlines()]
    commands = list(dict.fromkeys(line for line in lines if line.startswith("cals ")))
    assert len(commands) >= 4
    for command in commands:
        main(shlex.split(command, comments=True)[1:])
    assert (clone / "talking.mp4").stat().st_size > 10_000
    with av.open(str(clone / "talking.mp4")) as container:
        comment = container.metadata["comment"]
    assert "model grid-small" in comment  # what ships is what speaks
    assert (clone / "talking.track.json").is_file()
    assert (clone / "faces.png").is_file()
    assert (clone / "calm.mp4").is_file()


def test_python_blocks(clone: Path) -> None:
    code = dict.fromkeys(blocks("python", *RUN))
    assert len(code) >= 2
    for block in code:
        exec(compile(block, "documentation", "exec"), {})
    assert (clone / "python.mp4").is_file()


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", "\n".join(blocks("bash", README)), flags=re.MULTILINE)) == {"demo", "test"}
    named = {name for page in PAGES for name in re.findall(r"`make (\w+)`", page.read_text(encoding="utf-8"))}
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_the_package_exist(page: Path) -> None:
    """Imports of Python blocks, and dotted names such as `cals.metrics.wer`, whether they are run or not."""
    text = page.read_text(encoding="utf-8")
    names = re.findall(r"`(cals(?:\.\w+)+)`", text) + re.findall(r"^::: (cals[\w.]+)", text, flags=re.MULTILINE)
    for line in re.findall(r"^from cals.* import .*$", text, flags=re.MULTILINE):
        for node in ast.parse(line).body:
            assert isinstance(node, ast.ImportFrom)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    assert [name for name in names if not is_there(name)] == []


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [
        page.name for page in DOCS if not re.search(rf"\b{page.relative_to(ROOT / 'docs')}$", config, re.MULTILINE)
    ]
    assert missing == []
