"""Files of results, which appear together when an evaluation is done."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cals.data.shards import convert_write_errors
from cals.inference.report import create_file


@contextmanager
def open_results(
    out: Path, names: Sequence[str], *, force: bool, reserved: Sequence[Path] = ()
) -> Iterator[list[Path]]:
    """Open paths for the results in `out`, which appear together when the work is done, or not at all.

    Raises MediaError, before any work, where one of them exists and `force` is not given, or is one of `reserved`.
    """
    with convert_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        yield [files.enter_context(create_file(out / name, force=force, reserved=reserved)) for name in names]


def write_json(path: Path, document: dict[str, Any], *, indent: int | None = 1) -> None:
    """Write a report's document; ValueError for NaN or infinity, which JSON does not have."""
    path.write_text(json.dumps(document, indent=indent, allow_nan=False) + "\n", encoding="utf-8")
