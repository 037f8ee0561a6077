"""Guard before the page: no other site's requests, no host name that is not ours, no visitor without the token."""

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cals.http_guard import get_bearer_token, get_host_name, is_origin_of, is_token
from cals.web.config import LOCAL_HOSTS, WebConfig

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "cals-web-token"
_MAX_FORM_BYTES = 1 << 20
"""Largest request that is not an upload."""
_UPLOAD = "/gradio_api/upload"
_INLINE = "'self' 'unsafe-inline'"
HEADERS = {
    # Gradio's page needs inline and generated script; no other host is asked for anything.
    "content-security-policy": f"default-src 'self'; script-src {_INLINE} 'unsafe-eval' blob:; style-src {_INLINE}; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _RefusalError(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """ASGI middleware that refuses whatever the page did not ask for itself.

    On this machine alone the name in the address has to be one of this machine's, so that no other site's name can
    stand for it. With a token, `?token=` in the address of the page sets a cookie; programs send `Authorization:
    Bearer`.
    """

    def __init__(self, app: App, config: WebConfig) -> None:
        self._app, self._is_local, self._token = app, config.is_local, config.token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no use for web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check_origin(scope, headers)
            address = self._check_token(scope, headers)
            _check_size(scope, headers)
        except _RefusalError as refusal:
            await _reply(send, refusal.status, str(refusal))
            return
        if address is not None:
            cookie = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Lax"
            await _reply(send, HTTPStatus.SEE_OTHER, "", {"location": address, "set-cookie": cookie})
            return
        await self._app(scope, receive, _add_headers(send))

    def _check_origin(self, scope: Scope, headers: dict[str, str]) -> None:
        """Refuse requests under a foreign name, and those that a page of another site makes."""
        host = headers.get("host", "")
        if self._is_local and get_host_name(host) not in LOCAL_HOSTS:
            raise _RefusalError(HTTPStatus.MISDIRECTED_REQUEST, "this page is at localhost only")
        origin = headers.get("origin")
        if origin is not None and not is_origin_of(origin, host):
            raise _RefusalError(HTTPStatus.FORBIDDEN, "requests of other sites are refused")
        is_visit = scope["method"] == "GET" and scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_visit:
            raise _RefusalError(HTTPStatus.FORBIDDEN, "requests of other sites are refused")

    def _check_token(self, scope: Scope, headers: dict[str, str]) -> str | None:
        """Refuse requests without the token; return the address to go on with where it came in the address."""
        if self._token is None:
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        given = [value for name, value in query if name == "token"]
        if given and scope["method"] == "GET" and scope["path"] == "/" and is_token(given[0], self._token):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            return f"/?{rest}" if rest else "/"
        shown = (_read_cookie(headers), get_bearer_token(headers.get("authorization", "")))
        if not any(is_token(text, self._token) for text in shown):
            raise _RefusalError(
                HTTPStatus.UNAUTHORIZED, "Open the address with ?token=... as you were given it: this page has a token."
            )
        return None


def _read_cookie(headers: dict[str, str]) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _check_size(scope: Scope, headers: dict[str, str]) -> None:
    """Refuse long requests that are no uploads, whose size Gradio limits."""
    if scope["method"] in ("GET", "HEAD") or scope["path"].rstrip("/") == _UPLOAD:
        return
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
        raise _RefusalError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
    if len(length) > 12 or int(length) > _MAX_FORM_BYTES:
        raise _RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {_MAX_FORM_BYTES} bytes")


def _add_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            # Gradio answers every origin with permission to read; only our own page may.
            given = [(k, v) for k, v in message.get("headers", []) if not k.lower().startswith(b"access-control-")]
            message = {**message, "headers": [*given, *own]}
        await send(message)

    return send_with_headers


async def _reply(send: Send, status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> None:
    body = f"{text}\n".encode() if text else b""
    lines = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "cache-control": "no-store",
        **HEADERS,
        **(headers or {}),
    }
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": encoded})
    await send({"type": "http.response.body", "body": body})
