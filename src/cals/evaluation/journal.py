"""Finished clips of a long evaluation, kept until its results are written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from cals.data.shards import convert_write_errors
from cals.errors import ConfigError
from cals.files import replace_atomically

Record = TypeVar("Record")


class Journal(Generic[Record]):
    """Records of the finished clips, by key, in a file beside the results: an interruption loses one clip.

    Raises ConfigError when there is unfinished work with other settings, unless `force` discards it.
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
        documents = [line for line in map(_parse_line, lines) if line is not None]
        if documents and documents[0] == settings:
            self.records = {line["key"]: read(line["record"]) for line in documents[1:]}
        elif len(documents) > 1 and not force:
            changed = [name for name in settings if documents[0].get(name) != settings[name]]
            raise ConfigError(
                f"{path}: expected unfinished work with these settings, found some with another {', '.join(changed)}; "
                "give it the same settings to go on, --force to begin anew, or another --out"
            )
        with convert_write_errors(path), replace_atomically(path) as partial:  # without a line that a crash cut short
            entries = [json.dumps(settings), *(self._format_line(key, record) for key, record in self.records.items())]
            partial.write_text("".join(f"{line}\n" for line in entries), encoding="utf-8")

    def add(self, key: str, record: Record) -> None:
        """Append the record of a finished clip."""
        self.records[key] = record
        with convert_write_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(self._format_line(key, record) + "\n")

    def close(self) -> None:
        """Delete the file, once the results are written."""
        self._path.unlink(missing_ok=True)

    def _format_line(self, key: str, record: Record) -> str:
        return json.dumps({"key": key, "record": self._document(record)})


def _parse_line(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
