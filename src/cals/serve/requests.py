"""From a request to the row of a job: the same fields as a table of `cals batch`."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cals.errors import ConfigError
from cals.files import suggest_path
from cals.inference.batch_jobs import COLUMNS, BatchJob, build_job
from cals.media.output import CONTAINERS
from cals.serve.config import RequestError
from cals.serve.folders import REPORT, UPLOADS

FIELDS = (*(name for name in COLUMNS if name not in ("out", "report")), "format", "report")
"""Fields of a request: files, options of a job, the container of the result, and whether there is to be a report."""
_FORMATS = tuple(suffix.removeprefix(".") for suffix in CONTAINERS)
_BOOLEANS: dict[Any, bool] = {True: True, "true": True, "1": True, False: False, "false": False, "0": False, "": False}


def build_row(
    values: Mapping[str, Any], files: Mapping[str, Path], folder: Path, inputs: Path | None
) -> tuple[dict[str, Any], BatchJob]:
    """Build the row of a job in `folder`, and the job; RequestError for what cannot be run.

    `values` are texts, numbers and booleans by field; those of files are paths below `inputs`.
    """
    for name in values:
        if name not in FIELDS:
            matches = difflib.get_close_matches(name.lower(), FIELDS, n=1)
            advice = f"did you mean {matches[0]}?" if matches else f"choose of {', '.join(FIELDS)}"
            raise refuse(f"job: expected known fields, found {name[:40]!r}; {advice}")
    row = {name: value for name, value in values.items() if value not in ("", None)}
    row.pop("format", None), row.pop("report", None)
    for name in UPLOADS:
        if name in files:
            row[name] = str(files[name])
        elif name in row:
            row[name] = str(find_input(name, row[name], inputs))
    for name in ("face", "audio"):
        if name not in row:
            raise refuse(f"{name}: expected a file, found none; send it as the field {name}")
    suffix = values.get("format") or "mp4"
    if suffix not in _FORMATS:
        raise refuse(f"format: expected one of {', '.join(_FORMATS)}, found {str(suffix)[:40]!r}; mp4 is the default")
    row["out"] = str(folder / f"result.{suffix}")
    if _read_boolean("report", values.get("report", False)):
        row["report"] = str(folder / REPORT)
    try:
        return row, build_job("job", folder, 1, row)
    except ConfigError as error:
        raise refuse(str(error)) from error


def find_input(name: str, value: Any, inputs: Path | None) -> Path:
    """Return the real path of a file that a request names; RequestError unless it is below `inputs`.

    Links are followed first, so that none leads outside. Whether something exists elsewhere is not told.
    """
    text = str(value)
    if (hint := suggest_path(Path(text))) or "://" in text:
        raise refuse(f"{name}: expected a file, found {text[:80]!r}; {hint or 'nothing is fetched: send the file'}")
    if inputs is None:
        raise refuse(f"{name}: expected a file that is sent, found a path; send it, or start cals serve with --inputs")
    root = inputs.resolve()
    try:
        path = (root / text).resolve(strict=True)
        is_allowed = path.is_relative_to(root) and path.is_file() and str(path) == str(path).strip()
    except (OSError, ValueError, RuntimeError):
        is_allowed = False
    if not is_allowed:
        raise refuse(f"{name}: expected a file below the folder of inputs, found {text[:80]!r}; name one")
    return path


def hash_request(values: Mapping[str, Any], hashes: Mapping[str, str]) -> str:
    """Hash a request, so that a second one with the same idempotency key can be compared."""
    document = json.dumps([sorted(values.items()), sorted(hashes.items())])
    return hashlib.sha256(document.encode()).hexdigest()


def refuse(message: str) -> RequestError:
    """Build the error for a request that can never be a job."""
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, message)


def _read_boolean(name: str, value: Any) -> bool:
    key = value.lower() if isinstance(value, str) else value
    if not isinstance(key, bool | str) or key not in _BOOLEANS:
        raise refuse(f"{name}: expected true or false, found {str(value)[:40]!r}; choose one")
    return _BOOLEANS[key]
