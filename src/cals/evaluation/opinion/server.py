"""Server of a study: it serves the page and videos and writes answers to files; it logs no names and addresses."""

import json
import logging
import re
import socketserver
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6
from typing import Any

from cals.errors import CalsError, ConfigError, DataError
from cals.evaluation.opinion.answers import AnswerBook, check_answer, is_rater
from cals.evaluation.opinion.study import ANSWERS, SITE, Study, read_study
from cals.files import describe_os_error

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 16
"""Largest request of a rater."""
_CHUNK_BYTES = 1 << 18
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mp4": "video/mp4"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class StudyServer(ThreadingHTTPServer):
    """Server of the site of the study in `folder`, as it is at the start, which writes answers beside it.

    Port 0 takes a free one. Raises DataError for a folder without a study, ConfigError where it cannot listen.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self.study: Study = read_study(folder)
        self.book = AnswerBook(folder / ANSWERS, self.study)
        site = folder / SITE
        # Only listed files are served, so no path leads out of the folder.
        self.files = {
            f"/{path.relative_to(site).as_posix()}": path
            for path in site.rglob("*")
            if path.suffix in _TYPES and path.is_file() and not path.is_symlink()
        }
        if "/index.html" not in self.files:
            raise DataError(f"{site}: expected the site of a study, found no index.html; make the study anew")
        self.files["/"] = self.files["/index.html"]
        if ":" in host:
            self.address_family = AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            found = describe_os_error(error) if isinstance(error, OSError) else error
            raise ConfigError(
                f"{host}:{port}: expected a place to listen, found {found}; try another --port"
            ) from error

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own looks up the host name over the network
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def address(self) -> str:
        """URL for a browser on this machine."""
        return f"http://{f'[{self.server_name}]' if ':' in self.server_name else self.server_name}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the error, without the client's address."""
        log.debug("a request broke off", exc_info=True)


class _RefusalError(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: StudyServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "cals", ""
    timeout = 30
    """Seconds after which an idle connection is closed."""

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug(format, *arguments)

    def do_GET(self) -> None:
        path = self.server.files.get(self.path.partition("?")[0])
        if path is None:
            self._reply(HTTPStatus.NOT_FOUND, {"error": "there is no such file"})
            return
        with path.open("rb") as file:
            size = path.stat().st_size
            byte_range = _parse_range(self.headers.get("Range"), size)
            if byte_range is None:
                self._reply(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"error": "no such range"}, f"bytes */{size}")
                return
            start, end = byte_range
            is_part = (start, end) != (0, size)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK)
            if is_part:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            # Videos never change under their names, so a rater may continue from the cache without a connection.
            self.send_header("Cache-Control", "private, max-age=86400" if path.suffix == ".mp4" else "no-cache")
            self._end_headers(_TYPES[path.suffix], end - start)
            file.seek(start)
            while self.command != "HEAD" and (chunk := file.read(min(_CHUNK_BYTES, end - start))):
                self.wfile.write(chunk)
                start += len(chunk)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        try:
            document = self._read_document()
            book, study = self.server.book, self.server.study
            if self.path == "/enter" and document.get("study") == study.id and is_rater(document.get("rater")):
                requested = document.get("number")
                number = book.enter(document["rater"], requested if type(requested) is int else None)
                self._reply(HTTPStatus.OK, {"number": number})
            elif self.path == "/answers" and isinstance(document.get("answers"), list):
                answers = [check_answer(one, study) for one in document["answers"]]
                self._reply(HTTPStatus.OK, {"kept": book.add(answers)})
            else:
                raise _RefusalError(HTTPStatus.BAD_REQUEST, "nothing that this study takes")
        except _RefusalError as refusal:
            self.close_connection = True  # the body may be unread
            self._reply(refusal.status, {"error": str(refusal)})
        except CalsError as error:
            log.warning("%s", error)
            self._reply(HTTPStatus.CONFLICT, {"error": "this study does not take it"})

    def _read_document(self) -> dict[str, Any]:
        """Read the JSON object of a request; _RefusalError where it is none, or too long."""
        # A page of another site cannot send JSON without a preflight request, which is never answered.
        if self.headers.get_content_type() != "application/json":
            raise _RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected JSON")
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise _RefusalError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if len(length) > len(str(MAX_BYTES)) or int(length) > MAX_BYTES:
            raise _RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_BYTES} bytes")
        try:
            document = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "expected a JSON object")
        return document

    def _reply(self, status: HTTPStatus, document: dict[str, Any], content_range: str = "") -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        self._end_headers("application/json", len(data))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _end_headers(self, kind: str, length: int) -> None:
        self.send_header("Content-Type", kind if kind == "video/mp4" else f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(length))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()


def _parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Parse start and end of the one range that a header asks for; all for none or several, None for no bytes.

    RFC 9110, section 14.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.group(0) == "bytes=-":
        return 0, size
    first, last = match.groups()
    if not first:
        return (max(size - int(last), 0), size) if int(last) and size else None
    start = int(first)
    if last and int(last) < start:
        return 0, size
    return (start, min(int(last) + 1, size) if last else size) if start < size else None
