"""What every request passes first: checks of its host, origin and token; and the headers of every response."""

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from cals.http_guard import get_bearer_token, get_host_name, is_origin_of, is_token
from cals.serve.config import RequestError, ServeConfig
from cals.serve.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/healthz", "/docs", "/openapi.json")
"""Paths without a token: they tell nothing of any job."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: Application, config: ServeConfig, metrics: Metrics) -> None:
        self._app, self._config, self._metrics = app, config, metrics
        self._names = {"localhost", config.host.lower(), *(name.lower() for name in config.names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                route = scope.get("route")
                path = getattr(route, "path", None) or "other"
                self._metrics.count_request(scope["method"], path, message["status"])
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
            await self._app(scope, receive, send_with_headers)
        except RequestError as error:
            if not has_begun:
                await build_error_response(error)(scope, receive, send_with_headers)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        """Raise RequestError for a request that is not to be looked at."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_own(host):
            raise RequestError(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"host: expected a name of this server, found {host[:80]!r}; start it with --names NAME",
            )
        origin = headers.get("origin")
        if origin is not None and origin not in self._config.origins and not is_origin_of(origin, host):
            raise RequestError(
                HTTPStatus.FORBIDDEN,
                f"origin: expected a page of this server, found {origin[:80]!r}; start it with --origins {origin[:80]}",
            )
        token, bearer = self._config.token, get_bearer_token(headers.get("authorization", ""))
        if token is not None and path not in OPEN_PATHS and not is_token(bearer, token):
            raise RequestError(
                HTTPStatus.UNAUTHORIZED,
                "token: expected the header Authorization: Bearer TOKEN, found none or another; ask who runs it",
            )

    def _is_own(self, host: str) -> bool:
        """Return whether a Host header is a name of this server, or an address, which no other name can lead to."""
        name = get_host_name(host)
        if name in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def build_size_error(config: ServeConfig) -> RequestError:
    """Build the error for a request that is too large."""
    return RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"request: expected at most {config.limits.max_upload_mb:g} MB, found more; make the files smaller, or start "
        "the server with a larger --max-upload-mb",
    )


def build_error_response(error: RequestError) -> JSONResponse:
    """Build the response to a request that is refused."""
    headers = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "30"
    if error.status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
        headers["Connection"] = "close"
    return JSONResponse({"error": str(error)}, error.status, headers)
