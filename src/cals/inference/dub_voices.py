"""The voices that segments of a dub name: files of a folder, or files that are called so and lie elsewhere."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

VOICE_SUFFIXES = {".aac", ".aif", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka", ".mkv", ".mov", ".mp2"}
VOICE_SUFFIXES |= {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".w64", ".wav", ".weba", ".webm", ".wma"}
"""Suffixes of the voice files that are looked for in a folder."""


class VoiceFiles(Protocol):
    """Where voices are looked up."""

    has_numbers: bool
    """Whether segments that name none are looked up too, by their numbers."""

    def find(self, name: Path) -> Path | None:
        """Return the file that a segment names, None if there is none."""

    def find_by_number(self, number: str) -> dict[str, Path]:
        """Return the files, by name, that are called like the number of a segment."""

    def describe(self, name: str) -> str:
        """Describe a voice that was not found."""


class FolderVoices:
    """Files of a folder, and those that lie where a segment says, from there."""

    def __init__(self, folder: Path, *, has_numbers: bool) -> None:
        self._folder, self.has_numbers = folder, has_numbers
        files = sorted(folder.iterdir()) if has_numbers else []
        self._by_number = _group_by_number({file.name: file for file in files if file.suffix.lower() in VOICE_SUFFIXES})

    def find(self, name: Path) -> Path | None:
        path = self._folder / name
        with suppress(OSError):  # a name too long for a file
            return path if path.is_file() else None
        return None

    def find_by_number(self, number: str) -> dict[str, Path]:
        return self._by_number.get(normalize_number(number), {})

    def describe(self, name: str) -> str:
        return str(self._folder / name)


class NamedVoices:
    """Files by name; what a segment says is only compared with the names, and never opened.

    `voices/1.wav` stands for `1.wav` where no file has the whole name, since clients send files without their folders.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = {normalize_name(name): path for name, path in files.items()}
        self.has_numbers = bool(files)
        self._by_number = _group_by_number(self._files)
        self._users: dict[str, Path] = {}

    def find(self, name: Path) -> Path | None:
        key = normalize_name(str(name))
        if key not in self._files and _is_plain(name):
            key = normalize_name(name.name)
            if self._users.setdefault(key, name) != name:
                return None  # a/1.wav and b/1.wav are two voices, and there is one file for both
        return self._files.get(key)

    def find_by_number(self, number: str) -> dict[str, Path]:
        return self._by_number.get(normalize_number(number), {})

    def describe(self, name: str) -> str:
        return name[:80]


def _is_plain(name: Path) -> bool:
    """Return whether a name is that of a file in a folder below, and neither an address nor from elsewhere."""
    return not name.is_absolute() and not any(part == ".." or set(part) & set(":\\") for part in name.parts)


def _group_by_number(files: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    groups: dict[str, dict[str, Path]] = {}
    for name, path in files.items():
        groups.setdefault(normalize_number(Path(name).stem), {})[name] = path
    return groups


def normalize_name(name: str) -> str:
    """Return one form of a name whose accents may be letters of their own, as in files from a Mac."""
    return unicodedata.normalize("NFC", name)


def normalize_number(name: str) -> str:
    """Return a name by which voices are found: numbers without leading zeros."""
    return (name.lstrip("0") or "0") if re.fullmatch(r"\d+", name, re.ASCII) else normalize_name(name)


def find_duplicate(names: Iterable[str]) -> str | None:
    """Return the first name that is there twice."""
    known = set[str]()
    for name in map(normalize_name, names):
        if name in known:
            return name
        known.add(name)
    return None
