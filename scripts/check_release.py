"""Check wheel and sdist in dist/ before they are published: `make release-check` runs this after `make package`.

It reads their metadata, and asks that versions, extras, licences and the changelog agree.
"""

import email
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = {"c2pa", "fast", "ray", "train"}
"""Extras that are promised; others may be added."""
PYTHONS = ("3.11", "3.12", "3.13")
LICENCES = {"LICENSE", "NOTICE", "src/cals/weights/silero-vad/LICENSE", "src/cals/weights/whisper-tiny-en/LICENSE"}


def read_wheel(path: Path) -> Message:
    """Read the metadata of a wheel."""
    with zipfile.ZipFile(path) as archive:
        name = next(item for item in archive.namelist() if item.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def read_sdist(path: Path) -> Message:
    """Read the metadata of an sdist."""
    with tarfile.open(path) as archive:
        file = archive.extractfile(
            next(item for item in archive if item.name.count("/") == 1 and "PKG-INFO" in item.name)
        )
        assert file is not None
        return email.message_from_bytes(file.read())


def find_problems(metadata: Message, changelog: str) -> list[str]:
    """Return what keeps a distribution from being published."""
    problems = []
    version = metadata["Version"]
    for field, expected in (("Name", "cals"), ("Requires-Python", ">=3.11"), ("License-Expression", "Apache-2.0")):
        if metadata[field] != expected:
            problems.append(f"{field}: expected {expected}, found {metadata[field]}")
    missing = EXTRAS - set(metadata.get_all("Provides-Extra") or [])
    if missing:
        problems.append(f"extras: expected {', '.join(sorted(missing))} too")
    missing = LICENCES - set(metadata.get_all("License-File") or [])
    if missing:
        problems.append(f"licence files: expected {', '.join(sorted(missing))} too")
    classifiers = metadata.get_all("Classifier") or []
    problems += [
        f"classifiers: expected Python {python}"
        for python in PYTHONS
        if f"Programming Language :: Python :: {python}" not in classifiers
    ]
    if f"## [{version}]" not in changelog:
        problems.append(f"CHANGELOG.md: expected a section [{version}]")
    return problems


def main() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    import licences

    files = [next((ROOT / "dist").glob("*.whl")), next((ROOT / "dist").glob("*.tar.gz"))]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)], check=True)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for path, metadata in zip(files, (read_wheel(files[0]), read_sdist(files[1])), strict=True):
        problems = find_problems(metadata, changelog)
        if problems:
            sys.exit(f"{path.name}: " + "; ".join(problems))
        print(f"{path.name}: metadata as expected")
    licences.main(["--check"])
    print("licences: none that users may not pass on")


if __name__ == "__main__":
    main()
