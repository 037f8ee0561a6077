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
MAX_FIELD_BYTES = 1 << 14
_MAX_HEADER_BYTES = 1 << 13
_FIELD_NAME = re.compile(r"[a-z_]{1,32}")


@dataclass
class Form:
    """A request: texts by field, the fields that are files, and a hash of all."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    """sha256 of the files."""


async def read_form(chunks: AsyncIterator[bytes], content_type: str, folder: Path, uploads: Sequence[str]) -> Form:
    """Read a body, and store the parts with a file name in `folder` if their fields are among `uploads`.

    A client's file name only tells that a part is a file. Raises RequestError for bodies that are not in this form.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
        raise _build_error("multipart/form-data with a boundary", "none")
    with ExitStack() as stack:
        reader = _FormReader(folder, uploads, stack)
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

    def __init__(self, folder: Path, uploads: Sequence[str], stack: ExitStack) -> None:
        self.form, self.is_whole = Form(), False
        self._folder, self._uploads, self._stack = folder, uploads, stack
        self._parts = 0
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._name, self._text = "", bytearray()
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
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
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"request: expected at most {MAX_PARTS} parts, found more"
            )
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
        if not _FIELD_NAME.fullmatch(name) or name in self.form.fields or name in self.form.files:
            raise _build_error("a name of its own for each part", repr(name[:40]))
        self._name = name
        if b"filename" not in options:
            return
        if name not in self._uploads:
            raise _build_error(f"files as {', '.join(self._uploads)} alone", f"one as {name}")
        path = self._folder / name  # one of `uploads`
        self._file = self._stack.enter_context(path.open("xb"))
        self._hash = hashlib.sha256()
        self.form.files[name] = path

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._extend(self._text, data[start:end], MAX_FIELD_BYTES)
            return
        self._file.write(data[start:end])
        self._hash.update(data[start:end])

    def _end_part(self) -> None:
        if self._file is None:
            try:
                self.form.fields[self._name] = self._text.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _build_error("texts in UTF-8", f"other bytes as {self._name}") from error
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self.form.hashes[self._name] = self._hash.hexdigest()

    def _end(self) -> None:
        self.is_whole = True


def _build_error(expected: str, found: str) -> RequestError:
    return RequestError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"request: expected {expected}, found {found}; send fields and files as curl -F does",
    )
