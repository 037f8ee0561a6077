"""Finished clips of a long evaluation, kept until its results are written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from cals.data.shards import writing
from cals.errors import ConfigError
from cals.files import replacing

Record = TypeVar("Record")


class Journal(Generic[Record]):
    """What was found of each finished clip, by its key, in a file beside the results: an interruption loses one clip.

    Raises ConfigError when there is unfinished work with other settings, unless `force` throws it away.
    """

    def __init__(
        self,
        path: Path,
        settings: dict[str, Any],
        document: Callable[[Record], dict[str, Any]],
        read: Callable[[dict[str, Any]], Record],
        *,
        force: bool,
    ) -> None:
        self._path, self._document = path, document
        self.records: dict[str, Record] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [line for line in map(_parsed, lines) if line is not None]
        if found and found[0] == settings:
            self.records = {line["key"]: read(line["record"]) for line in found[1:]}
        elif found and not force:
            other = [name for name in settings if found[0].get(name) != settings[name]]
            raise ConfigError(
                f"{path}: expected unfinished work with these settings, found some with another {', '.join(other)}; "
                "give it the same settings to go on, --force to begin anew, or another --out"
            )
        with writing(path), replacing(path) as partial:  # without a line that a crash cut short
            kept = [json.dumps(settings), *(self._line(key, record) for key, record in self.records.items())]
            partial.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, key: str, record: Record) -> None:
        """Keep a finished clip."""
        self.records[key] = record
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(self._line(key, record) + "\n")

    def close(self) -> None:
        """The results are written: nothing is unfinished any more."""
        self._path.unlink(missing_ok=True)

    def _line(self, key: str, record: Record) -> str:
        return json.dumps({"key": key, "record": self._document(record)})


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
