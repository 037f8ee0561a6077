"""Unfinished work: what was done with other settings is kept, but a start without results is none."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from cals.errors import ConfigError
from cals.evaluation.journal import Journal


@dataclass(frozen=True)
class Record:
    value: int


def open_journal(path: Path, seed: int) -> Journal[Record]:
    return Journal(path, {"seed": seed}, asdict, lambda document: Record(**document), force=False)


def test_only_results_bind_the_settings(tmp_path: Path) -> None:
    path = tmp_path / ".study.jsonl"
    open_journal(path, 0)
    journal = open_journal(path, 1)
    journal.add("clip", Record(7))
    assert open_journal(path, 1).records == {"clip": Record(7)}
    with pytest.raises(ConfigError, match="found some with another seed"):
        open_journal(path, 0)
