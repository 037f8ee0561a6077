"""The jobs of a batch, read from a table: a row a job, a column an option."""

import csv
import difflib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from cals.errors import CalsError, ConfigError
from cals.face.person import parse_person
from cals.files import describe_os_error
from cals.inference.dub_request import DubRequest, parse_cast, parse_pairs
from cals.media.encoding import check_encoding
from cals.media.output import CONTAINERS
from cals.options import EncodeOptions, GenerateOptions, override

_REQUIRED = ("face", "audio", "out")
_PATHS = (*_REQUIRED, "voice", "report")
_DUB_FILES = ("segments", "audio_dir")
_DUB_LISTS = ("speak", "cast")
DUB_COLUMNS = (*_DUB_FILES, *_DUB_LISTS, "from", "to")
"""Columns of a dub. Lists are those of JSON, or texts with semicolons between them."""
_OPTIONS = {name: hint for kind in (GenerateOptions, EncodeOptions) for name, hint in get_type_hints(kind).items()}
COLUMNS = (*_PATHS, *DUB_COLUMNS, *_OPTIONS)
"""Names of the columns: files, what a dub says, fields of `GenerateOptions` and `EncodeOptions`."""
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """One video to generate."""

    line: int
    """Line of the table that names it, from 1."""
    face: Path
    audio: Path | None
    """What is heard and drives the mouth; None in a dub whose voices are mixed."""
    out: Path
    options: GenerateOptions
    encode: EncodeOptions
    report: Path | None = None
    voice: Path | None = None
    """The speech alone, where `audio` is a mix."""
    dub: DubRequest | None = None

    def __post_init__(self) -> None:
        if self.audio is None and self.dub is None:
            raise ConfigError("audio: expected a file, found none; name one, or what a dub says")
        if self.voice is not None and self.is_dub:
            raise ConfigError("voice: expected none in a dub, found one; name it as the voice of a segment")

    @property
    def is_dub(self) -> bool:
        return self.dub is not None or self.options.who_speaks == "auto"

    @property
    def inputs(self) -> tuple[Path, ...]:
        pose = self.options.pose
        paths = (self.face, self.audio, self.voice, None if pose is None else Path(pose))
        return (*(path for path in paths if path is not None), *(() if self.dub is None else self.dub.inputs))

    @property
    def outputs(self) -> tuple[Path, ...]:
        return (self.out, *([] if self.report is None else [self.report]))


def read_jobs(path: Path) -> list[BatchJob]:
    """Read jobs from a `.csv` with a header or a `.jsonl` with an object a line; paths are relative to the file.

    Empty cells and null are defaults. Raises ConfigError, with the line, for whatever cannot be run as it stands.
    """
    rows = _ROWS.get(path.suffix.lower())
    if rows is None:
        raise ConfigError(f"{path}: expected a table of jobs in .csv or .jsonl, found '{path.suffix}'; convert it")
    folder = path.absolute().parent  # other nodes of a cluster work elsewhere
    jobs = [build_job(f"{path}, line {line}", folder, line, row) for line, row in rows(path, _read_text(path))]
    if not jobs:
        raise ConfigError(f"{path}: expected a job a row, found none; write one with face, audio and out")
    check_conflicts(jobs, str(path), [path])
    return jobs


def check_conflicts(jobs: Sequence[BatchJob], table: str = "jobs", reserved: Sequence[Path] = ()) -> None:
    """Raise ConfigError where a job writes what another one writes or reads, one of `reserved`, or to no folder.

    Nor may `reserved`, files that are written too, be read by a job.
    """
    readers = {os.path.realpath(path): job for job in reversed(jobs) for path in job.inputs}
    other_files = {os.path.realpath(path) for path in reserved}
    for resolved in sorted(other_files & readers.keys()):
        raise ConfigError(
            f"{table}, line {readers[resolved].line}: expected an input that nothing is written to, found {resolved}; "
            "choose another name for what is written"
        )
    writers: dict[str, BatchJob] = {}
    for job in jobs:
        for path in job.outputs:
            where, resolved = f"{table}, line {job.line}", os.path.realpath(path)
            other, kind = writers.get(resolved), "output"
            if other is None:
                other, kind = readers.get(resolved), "input"
            if other is not None:
                raise ConfigError(
                    f"{where}: expected an output of its own, found {path}, which is an {kind} of line {other.line}; "
                    "choose another name"
                )
            if resolved in other_files:
                raise ConfigError(f"{where}: expected an output of its own, found {path}; choose another name")
            if not Path(resolved).parent.is_dir():
                raise ConfigError(f"{where}: expected an existing folder for {path}, found none; create it first")
            writers[resolved] = job


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a table of jobs, found {describe_os_error(error)}; name another"
        ) from error
    try:
        return data.decode("utf-8-sig")  # spreadsheets begin with a byte order mark
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: expected UTF-8 text, found other bytes; save it as UTF-8") from error


def _read_csv(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        if len(header) == 1 and (separator := next((mark for mark in ";\t|" if mark in header[0]), "")):
            raise ConfigError(f"{path}, line 1: expected commas between the columns, found {separator!r}; save it so")
        doubled = {name for name in header if header.count(name) > 1}
        if doubled:
            raise ConfigError(f"{path}, line 1: expected each column once, found {', '.join(sorted(doubled))} again")
        check_columns(f"{path}, line 1", header)
        line = rows.line_num
        for row in rows:
            first, line = line + 1, rows.line_num  # a quoted cell may span lines
            if len(row) != len(header) and any(row):
                raise ConfigError(
                    f"{path}, line {first}: expected {len(header)} cells, found {len(row)}; quote cells with commas"
                )
            if any(cell.strip() for cell in row):
                yield first, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise ConfigError(f"{path}, line {rows.line_num}: expected comma-separated cells, found {error}") from error


def _read_json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            found = f"{error.msg} in column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise ConfigError(f"{path}, line {number}: expected a JSON object, found {found}; correct it") from error
        if not isinstance(row, dict):
            raise ConfigError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}; correct it")
        check_columns(f"{path}, line {number}", list(row))
        yield number, row


_ROWS = {".csv": _read_csv, ".jsonl": _read_json_lines}


def check_columns(where: str, names: Sequence[str]) -> None:
    """Raise ConfigError unless `names` are known, and face, audio and out are among them."""
    for name in names:
        if name not in COLUMNS:
            matches = difflib.get_close_matches(name.lower(), COLUMNS, n=1)
            advice = f"did you mean {matches[0]}?" if matches else f"choose of {', '.join(COLUMNS)}"
            raise ConfigError(f"{where}: expected known columns, found '{name}'; {advice}")
    is_dub = any(name in DUB_COLUMNS for name in names)
    missing = [name for name in _REQUIRED if name not in names and not (is_dub and name == "audio")]
    if names and missing:
        raise ConfigError(f"{where}: expected the columns face, audio and out, found no {missing[0]}; add it")


def build_job(where: str, folder: Path, line: int, row: Mapping[str, Any], dub: DubRequest | None = None) -> BatchJob:
    """Build a job from the cells of a row, one of a dub without `audio`; paths are relative to `folder`.

    ConfigError begins with `where`.
    """
    cells = {name: row[name] for name in DUB_COLUMNS if row.get(name)}
    if cells:
        dub = _build_dub(where, folder, cells)
    values = {name: _convert(where, name, value) for name, value in row.items() if name not in DUB_COLUMNS}
    values = {name: value for name, value in values.items() if value is not None}
    for name in _REQUIRED:
        if name not in values and (name != "audio" or dub is None):
            raise ConfigError(f"{where}: expected a file as {name}, found none; name one")
    for name in (*_PATHS, "pose"):
        if name in values:
            values[name] = folder / values[name]
    paths = {"audio": None} | {name: values.pop(name) for name in _PATHS if name in values}
    try:
        encode, options = override(EncodeOptions(), values), GenerateOptions(**values)
        parse_person(str(options.person))
        container = CONTAINERS.get(Path(paths["out"]).suffix.lower())
        if container is None:
            raise ConfigError(
                f"out: expected a name that ends in {' '.join(CONTAINERS)}, found {paths['out']}; rename it"
            )
        check_encoding(encode, container)
        return BatchJob(line=line, options=options, encode=encode, dub=dub, **paths)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _build_dub(where: str, folder: Path, cells: Mapping[str, Any]) -> DubRequest:
    """Build a dub from the cells of its columns that are not empty."""
    texts = {name: _convert(where, name, cells[name]) for name in cells if name not in _DUB_LISTS}
    files = {name: folder / texts[name] for name in _DUB_FILES if name in texts}
    lists = {name: _split_list(where, name, cells.get(name, [])) for name in _DUB_LISTS}
    try:
        speak = parse_pairs("speak", lists["speak"], "PERSON=AUDIO")
        return DubRequest(
            speak=tuple((person, folder / audio) for person, audio in speak),
            segments=files.get("segments"),
            voices=files.get("audio_dir"),
            cast=parse_cast(lists["cast"]),
            start=texts.get("from"),
            end=texts.get("to"),
        ).find_segment_voices()
    except CalsError as error:
        raise ConfigError(f"{where}: {error}") from error


def _split_list(where: str, name: str, value: Any) -> list[str]:
    texts = value.split(";") if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{where}: expected a text, or a list of texts, as {name}, found {json.dumps(value):.40}")
    return [text.strip() for text in texts if text.strip()]


def _convert(where: str, name: str, value: Any) -> Any:
    """Convert a cell to the type of its column; None where it is empty."""
    if isinstance(value, list | dict):
        raise ConfigError(f"{where}: expected a text, a number, true or false as {name}, found {json.dumps(value)}")
    text = "" if value is None else (value if isinstance(value, str) else json.dumps(value)).strip()
    kinds = {kind for hint in [_OPTIONS.get(name, str)] for kind in get_args(hint) or (hint,)}
    if not text:
        return None
    if "\0" in text:
        raise ConfigError(f"{where}: expected a text as {name}, found a zero byte in it; remove it")
    if bool in kinds:
        if text.lower() not in _BOOLEANS:
            raise ConfigError(f"{where}: expected true or false as {name}, found '{text}'; choose one")
        return _BOOLEANS[text.lower()]
    number = int if int in kinds and str not in kinds else float if float in kinds else None
    try:
        return text if number is None else number(text)
    except ValueError as error:
        raise ConfigError(f"{where}: expected a number as {name}, found '{text}'; correct it") from error
