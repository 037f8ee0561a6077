"""From a request to the row of a job: the same fields as a table of `cals batch`."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cals.errors import ConfigError
from cals.inference.batch_jobs import COLUMNS, DUB_COLUMNS, BatchJob, build_job
from cals.media.output import CONTAINERS
from cals.serve.config import refuse
from cals.serve.dub import DUB_FIELDS, LIST_FIELDS, SEGMENT_SUFFIXES, build_dub_cells, build_dub_request
from cals.serve.folders import REPORT, UPLOADS, VOICES, JobFolders
from cals.serve.inputs import find_input
from cals.serve.multipart import Form, FormFields

_OWN_COLUMNS = (*DUB_COLUMNS, "out", "report")
FIELDS = (*(name for name in COLUMNS if name not in _OWN_COLUMNS), *DUB_FIELDS, "format", "report")
"""Fields of a request: files, options of a job, the container of the result, and whether there is to be a report."""
FORM_FIELDS = FormFields(files=UPLOADS, many=VOICES, lists=LIST_FIELDS, suffixes=SEGMENT_SUFFIXES)
"""Fields of a form that are not one text each."""
_DUB = "dub"
"""Cell of a row with what a dub has beside other jobs."""
_FORMATS = tuple(suffix.removeprefix(".") for suffix in CONTAINERS)
_BOOLEANS: dict[Any, bool] = {True: True, "true": True, "1": True, False: False, "false": False, "0": False, "": False}


def build_row(form: Form, job_id: str, folders: JobFolders, inputs: Path | None) -> tuple[dict[str, Any], BatchJob]:
    """Build the row of a job, and the job; RequestError for what cannot be run.

    Fields of files that were not sent are paths below `inputs`.
    """
    values = form.fields
    for name in values:
        if name not in FIELDS:
            matches = difflib.get_close_matches(name.lower(), FIELDS, n=1)
            advice = f"did you mean {matches[0]}?" if matches else f"choose of {', '.join(FIELDS)}"
            raise refuse(f"job: expected known fields, found {name[:40]!r}; {advice}")
    row = {name: value for name, value in values.items() if value not in ("", None)}
    dub = build_dub_cells(row, form, inputs)
    row = {name: value for name, value in row.items() if name not in (*DUB_FIELDS, "format", "report")}
    for name in set(UPLOADS) - {"segments"}:
        if name in form.files:
            row[name] = str(form.files[name])
        elif name in row:
            row[name] = str(find_input(name, row[name], inputs))
    for name in ("face", "audio"):
        if name not in row and (name == "face" or dub is None):
            raise refuse(f"{name}: expected a file, found none; send it as the field {name}")
    if dub is not None:
        row[_DUB] = dub
    suffix = values.get("format") or "mp4"
    if suffix not in _FORMATS:
        raise refuse(f"format: expected one of {', '.join(_FORMATS)}, found {str(suffix)[:40]!r}; mp4 is the default")
    row["out"] = str(folders.locate_result(job_id, suffix))
    if _read_boolean("report", values.get("report", False)):
        row["report"] = str(folders.locate(job_id) / REPORT)
    try:
        return row, read_row(row, folders.locate(job_id))
    except ConfigError as error:
        raise refuse(str(error)) from error


def read_row(row: Mapping[str, Any], folder: Path, number: int = 1) -> BatchJob:
    """Build a job from the row that `build_row` made of a request."""
    dub = build_dub_request(row[_DUB]) if _DUB in row else None
    return build_job("job", folder, number, {name: row[name] for name in row if name != _DUB}, dub)


def hash_request(form: Form) -> str:
    """Hash a request, so that a second one with the same idempotency key can be compared."""
    document = json.dumps([sorted(form.fields.items()), sorted(form.hashes.items())])
    return hashlib.sha256(document.encode()).hexdigest()


def _read_boolean(name: str, value: Any) -> bool:
    key = value.lower() if isinstance(value, str) else value
    if not isinstance(key, bool | str) or key not in _BOOLEANS:
        raise refuse(f"{name}: expected true or false, found {str(value)[:40]!r}; choose one")
    return _BOOLEANS[key]
