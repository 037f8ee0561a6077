"""Write down the licences of all dependencies in docs/licences.md, from the packages that are installed.

    python scripts/licences.py [--check]

The page has what `pip install cals` brings, what each extra names, and the rest of requirements.lock. Where a package
is not installed its row stays as the page has it. `--check` writes nothing, and fails where the page is old; both fail
where something that users install is under the GPL and no exception says why.
"""

import argparse
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
BEGIN, END = "<!-- begin: written by scripts/licences.py -->\n", "<!-- end -->\n"
_NOT_FOR_USERS = ("dev", "docs")
"""Extras of those who work on cals."""
_MAX_TEXT = 60
"""A longer field `License` is the text of a licence, not its name."""
_COPYLEFT = re.compile(r"(?<![AL])GPL|General Public License", re.IGNORECASE)
_WEAK = re.compile(r"LGPL|Lesser General Public License|Library General Public License", re.IGNORECASE)


def normalize(name: str) -> str:
    """Return the name of a package as the index compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> dict[str, str]:
    """Return normalised name -> version of a lock file."""
    lines = [line.strip() for line in text.splitlines() if "==" in line and not line.startswith("#")]
    return {normalize(line.partition("==")[0]): line.partition("==")[2] for line in lines}


def find_licence(package: str) -> str | None:
    """Return the licence that an installed package states; None where it is not installed."""
    try:
        metadata = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    expression, field = metadata.get("License-Expression"), metadata.get("License") or ""
    classifiers = [
        item.rpartition(" :: ")[2] for item in metadata.get_all("Classifier") or [] if item.startswith("License ::")
    ]
    named = [item for item in classifiers if item != "OSI Approved"]
    if expression:
        return str(expression)
    if field and "\n" not in field and len(field) <= _MAX_TEXT and field.upper() != "UNKNOWN":
        return str(field)
    return "; ".join(named) or "not stated"


def find_closure(requirements: Iterable[str]) -> set[str]:
    """Return the names of these packages and of what they require here, as far as they are installed."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = normalize(requirement.name)
        if name in found:
            continue
        found.add(name)
        try:
            texts = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        needed = [Requirement(text) for text in texts]
        waiting += [item for item in needed if item.marker is None or item.marker.evaluate({"extra": ""})]
    return found


def is_copyleft(licence: str) -> bool:
    """Return whether a licence is the GPL, and not the LGPL, with no other one to choose instead."""
    choices = re.split(r"\bOR\b|;", licence)
    return all(_COPYLEFT.search(choice) and not _WEAK.search(choice) for choice in choices)


def read_rows(page: str) -> dict[str, str]:
    """Return name -> licence of the rows of a page."""
    return {normalize(name): licence for name, licence in re.findall(r"^\| ([\w.-]+) \|[^|]*\| (.*?) \|$", page, re.M)}


def render(page: str, lock: dict[str, str], project: dict[str, object]) -> tuple[str, list[str]]:
    """Return the page with its tables written anew, and the packages that users install under the GPL."""
    known = read_rows(page)
    extras: dict[str, list[str]] = dict(project["optional-dependencies"])  # type: ignore[call-overload]
    base = find_closure(project["dependencies"])  # type: ignore[arg-type]
    users = {name: texts for name, texts in extras.items() if name not in _NOT_FOR_USERS}
    named = {normalize(Requirement(text).name): name for name, texts in users.items() for text in texts}
    named = {package: extra for package, extra in named.items() if package not in base}
    rest = sorted(set(lock) - base - set(named))
    copyleft = []
    lines: list[str] = []
    for title, packages in (
        ("`pip install cals`", sorted(base)),
        ("Extras", sorted(named)),
        ("Development, tests and documentation only", rest),
    ):
        lines += [f"## {title}\n", "| package | version | licence |", "|---|---|---|"]
        for package in packages:
            licence = find_licence(package) or known.get(package)
            if licence is None:
                raise SystemExit(
                    f"{package}: expected it to be installed, or in the page; install it and run this again"
                )
            if package not in rest and is_copyleft(licence):
                copyleft.append(package)
            extra = f" (`{named[package]}`)" if package in named else ""
            lines.append(f"| {package} | {lock.get(package, 'any')}{extra} | {licence} |")
        lines.append("")
    before, begin, tail = page.partition(BEGIN)
    _, end, after = tail.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name}: expected the lines {BEGIN!r} and {END!r}")
    return before + BEGIN + "\n" + "\n".join(lines) + END + after, copyleft


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where the page is old")
    options = parser.parse_args(arguments)
    page = PAGE.read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text, copyleft = render(page, read_lock((ROOT / "requirements.lock").read_text(encoding="utf-8")), project)
    if copyleft:
        sys.exit(f"expected no GPL in what users install, found {', '.join(copyleft)}")
    if options.check:
        if text != page:
            sys.exit(f"{PAGE.name} is old: run `python scripts/licences.py`")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
