"""The page of licences has all that is locked, the GPL is noticed, and so is metadata that may not be published."""

import tomllib
from email.message import Message

import pytest

from check_release import LICENCES, PYTHONS, find_problems
from licences import BEGIN, END, PAGE, ROOT, is_copyleft, normalize, read_lock, read_rows, render

LOCK = read_lock((ROOT / "requirements.lock").read_text(encoding="utf-8"))
EMPTY = BEGIN + END


def test_page_has_every_locked_package_at_its_version() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = read_rows(page)
    assert set(LOCK) - set(rows) == set()
    assert [name for name, version in LOCK.items() if f"| {name} | {version} " not in page] == []
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {normalize(text.partition(">")[0]) for text in dependencies}
    assert names - set(rows) == set()


@pytest.mark.parametrize(
    ("licence", "is_gpl"),
    [
        ("GPL-3.0-or-later", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("LGPL-2.1-only", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("MIT OR GPL-2.0-only", False),
        ("BSD License; GNU General Public License (GPL)", False),
        ("Apache-2.0", False),
        ("MPL-2.0 AND MIT", False),
    ],
)
def test_gpl_is_told_from_other_licences(licence: str, is_gpl: bool) -> None:
    assert is_copyleft(licence) == is_gpl


def test_gpl_in_what_users_install_is_found() -> None:
    row = "| copied-left | any | GPL-3.0-only |\n"
    page = BEGIN + row + END
    for dependencies, extras, expected in (
        (["copied-left"], {}, ["copied-left"]),
        ([], {"more": ["copied-left>=1"]}, ["copied-left"]),
        ([], {"dev": ["copied-left"]}, []),
    ):
        lock = {"copied-left": "1"} if "dev" in extras else {}
        text, found = render(page, lock, {"dependencies": dependencies, "optional-dependencies": extras})
        assert found == expected
        assert "GPL-3.0-only" in text


def test_a_package_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(SystemExit, match="no-such-package: expected it to be installed"):
        render(EMPTY, {}, {"dependencies": ["no-such-package"], "optional-dependencies": {}})


def build_metadata(**fields: str) -> Message:
    metadata = Message()
    values = {"Name": "cals", "Version": "0.1.0", "Requires-Python": ">=3.11", "License-Expression": "Apache-2.0"}
    for name, value in (values | {name.replace("_", "-"): value for name, value in fields.items()}).items():
        metadata[name] = value
    for extra in ("c2pa", "fast", "ray", "train"):
        metadata["Provides-Extra"] = extra
    for path in LICENCES:
        metadata["License-File"] = path
    for python in PYTHONS:
        metadata["Classifier"] = f"Programming Language :: Python :: {python}"
    return metadata


def test_metadata_is_checked() -> None:
    changelog = "# Changelog\n## [0.1.0] - today\n"
    assert find_problems(build_metadata(), changelog) == []
    assert find_problems(build_metadata(Version="0.2.0"), changelog) == ["CHANGELOG.md: expected a section [0.2.0]"]
    assert "Requires-Python" in find_problems(build_metadata(Requires_Python=">=3.9"), changelog)[0]
    bare = Message()
    bare["Name"], bare["Version"] = "cals", "0.1.0"
    assert len(find_problems(bare, changelog)) == 2 + 2 + len(PYTHONS)
