"""Reading of multipart/form-data as it arrives: files go to disk under the names of their fields, within limits."""

import hashlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.multipart import MultipartParser, parse_options_header

from cals.serve.config import RequestError

MAX_PARTS = 64
"""Most parts, beside the files of the field that takes many."""
MAX_FILES = 1000
"""Most files of that field."""
MAX_FIELD_BYTES = 1 << 14
_MAX_HEADER_BYTES = 1 << 13
_FIELD_NAME = re.compile(r"[a-z_]{1,32}")


@dataclass(frozen=True, kw_only=True)
class FormFields:
    """The fields of a form that are not one text each."""

    files: Sequence[str]
    """Fields that are a file."""
    many: str
    """The field that is any number of files."""
    lists: Sequence[str]
    """Fields that may be several texts."""
    suffixes: Sequence[str]
    """Suffixes of files, known from those that a client uses, which are kept."""


@dataclass
class Form:
    """A request: texts by field, the fields that are files, and a hash of each file."""

    fields: dict[str, Any] = field(default_factory=dict)
    """Texts; from JSON also other values."""
    files: dict[str, Path] = field(default_factory=dict)
    voices: dict[str, Path] = field(default_factory=dict)
    """The files of which there may be many, by the names that the client has for them."""
    hashes: dict[str, str] = field(default_factory=dict)
    """sha256 of the files."""


async def read_form(chunks: AsyncIterator[bytes], content_type: str, folder: Path, fields: FormFields) -> Form:
    """Read a body, and store the parts with a file name in `folder` if `fields` has them.

    A client's file name tells that a part is a file, and what others may call it; it is never part of a path.
    Raises RequestError for bodies that are not in this form.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
        raise _build_error("multipart/form-data with a boundary", "none")
    with ExitStack() as stack:
        reader = _FormReader(folder, fields, stack)
        parser = MultipartParser(boundary, reader.callbacks)
        try:
            async for chunk in chunks:
                parser.write(chunk)
        except ValueError as error:  # the parser's own errors are such
            raise _build_error("multipart/form-data", str(error)) from error
        if not reader.is_whole:
            raise _build_error("multipart/form-data up to its end", "less")
        return reader.form


class _FormReader:
    """The state between the parser's callbacks, which give ranges of bytes."""

    def __init__(self, folder: Path, fields: FormFields, stack: ExitStack) -> None:
        self.form, self.is_whole = Form(), False
        self._folder, self._fields, self._stack = folder, fields, stack
        self._parts = 0
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._name, self._text = "", bytearray()
        self._file: BinaryIO | None = None
        self._hash, self._hash_name = hashlib.sha256(), ""
        self.callbacks: Any = {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._extend(self._header, data[start:end], _MAX_HEADER_BYTES),
            "on_header_value": lambda data, start, end: self._extend(self._value, data[start:end], _MAX_HEADER_BYTES),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._take_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    @staticmethod
    def _extend(buffer: bytearray, data: bytes, limit: int) -> None:
        buffer += data
        if len(buffer) > limit:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"request: expected headers and texts of at most {limit} bytes, found more; give files a name",
            )

    def _begin_part(self) -> None:
        self._text.clear()
        self._disposition, self._name = b"", ""

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        is_file, form = b"filename" in options, self.form
        is_one_of_many = is_file and name == self._fields.many
        self._parts += not is_one_of_many
        if self._parts > MAX_PARTS or len(form.voices) > MAX_FILES:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"request: expected at most {MAX_PARTS} parts and {MAX_FILES} {self._fields.many}, found more",
            )
        is_known = (name in form.fields and name not in self._fields.lists) or name in form.files
        if not _FIELD_NAME.fullmatch(name) or is_known:
            raise _build_error("a name of its own for each part", repr(name[:40]))
        self._name = name
        if not is_file:
            return
        client_name = options[b"filename"].decode("utf-8", "replace")
        if is_one_of_many:
            self._open_one_of_many(client_name)
        elif name in self._fields.files:
            suffix = Path(client_name).suffix.lower()
            stored = name + (suffix if suffix in self._fields.suffixes else "")
            form.files[name] = self._open_file(self._folder / stored, stored)
        else:
            known = ", ".join([*self._fields.files, self._fields.many])
            raise _build_error(f"files as {known} alone", f"one as {name}")

    def _open_one_of_many(self, client_name: str) -> None:
        voices = self.form.voices
        if not client_name or client_name in voices:
            raise _build_error(f"a file name of its own for each of the {self._name}", repr(client_name[:40]))
        path = self._folder / self._name / str(len(voices) + 1)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        voices[client_name] = self._open_file(path, f"{self._name}/{client_name}")

    def _open_file(self, path: Path, hash_name: str) -> Path:
        self._file = self._stack.enter_context(path.open("xb"))
        self._hash, self._hash_name = hashlib.sha256(), hash_name
        return path

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._extend(self._text, data[start:end], MAX_FIELD_BYTES)
            return
        self._file.write(data[start:end])
        self._hash.update(data[start:end])

    def _end_part(self) -> None:
        if self._file is None:
            self._take_text()
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self.form.hashes[self._hash_name] = self._hash.hexdigest()

    def _take_text(self) -> None:
        try:
            text = self._text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _build_error("texts in UTF-8", f"other bytes as {self._name}") from error
        if self._name in self._fields.lists:
            self.form.fields.setdefault(self._name, []).append(text)
        else:
            self.form.fields[self._name] = text

    def _end(self) -> None:
        self.is_whole = True


def _build_error(expected: str, found: str) -> RequestError:
    return RequestError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"request: expected {expected}, found {found}; send fields and files as curl -F does",
    )
