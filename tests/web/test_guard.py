"""The guard before the page: foreign names, foreign pages, tokens, sizes, and what a browser is told."""

import asyncio
from typing import Any

import pytest

from cals.errors import ConfigError
from cals.web.config import WebConfig
from cals.web.guard import Guard

TOKEN = "abcdef123456"
LOCAL, PUBLIC = WebConfig(), WebConfig(host="0.0.0.0", token=TOKEN)


async def _page(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"access-control-allow-origin", b"*")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"page"})


def ask(
    config: WebConfig, path: str = "/", *, method: str = "GET", query: str = "", **headers: str
) -> tuple[int, dict[str, str]]:
    """Status and headers of the reply; `host` is that of this machine unless given."""
    headers = {"host": "127.0.0.1:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(_page, config)(scope, lambda: None, send))  # type: ignore[arg-type]
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_this_machine_needs_no_token() -> None:
    status, headers = ask(LOCAL)
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]  # no other host
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["localhost:7860", "[::1]:7860", "127.0.0.1"])
def test_names_of_this_machine_are_served(host: str) -> None:
    assert ask(LOCAL, host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "127.0.0.1@evil.example"])
def test_other_names_are_refused(host: str) -> None:
    assert ask(LOCAL, host=host)[0] == 421


def test_other_sites_are_refused() -> None:
    assert ask(LOCAL, "/config", origin="http://127.0.0.1:7860")[0] == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", "http://[x"):
        assert ask(LOCAL, "/gradio_api/queue/join", method="POST", origin=origin)[0] == 403
    assert ask(LOCAL, "/config", sec_fetch_site="cross-site")[0] == 403
    assert ask(LOCAL, "/", sec_fetch_site="cross-site", sec_fetch_mode="no-cors")[0] == 403
    assert ask(LOCAL, "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200  # a link to the page


def test_a_token_is_asked_for_and_becomes_a_cookie() -> None:
    assert ask(PUBLIC)[0] == 401
    assert ask(PUBLIC, query="token=abcdef123457")[0] == 401
    assert ask(PUBLIC, "/config", query=f"token={TOKEN}")[0] == 401  # only the page itself takes it from the address
    status, headers = ask(PUBLIC, query=f"token={TOKEN}&view=1", host="server:7860")
    assert (status, headers["location"]) == (303, "/?view=1")
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
    assert ask(PUBLIC, "/config", cookie=cookie.split(";")[0])[0] == 200
    assert ask(PUBLIC, "/config", authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(PUBLIC, "/config", cookie="cals-web-token=wrong")[0] == 401
    assert ask(PUBLIC, "/config", authorization=f"Basic {TOKEN}")[0] == 401


def test_long_requests_are_refused_but_for_uploads() -> None:
    long = str(5 << 20)
    assert ask(LOCAL, "/gradio_api/queue/join", method="POST", content_length=long)[0] == 413
    assert ask(LOCAL, "/gradio_api/queue/join", method="POST", transfer_encoding="chunked")[0] == 411
    assert ask(LOCAL, "/gradio_api/upload", method="POST", content_length=long)[0] == 200


def test_a_public_host_needs_a_token() -> None:
    with pytest.raises(ConfigError, match="expected 127.0.0.1 or a --token beside 0.0.0.0"):
        WebConfig(host="0.0.0.0")
    for token in ("short", "with spaces in it", "üüüüüüüüüüüü"):
        with pytest.raises(ConfigError, match="token: expected 12"):
            WebConfig(host="0.0.0.0", token=token)
    with pytest.raises(ConfigError, match="port"):
        WebConfig(port=70_000)
    with pytest.raises(ConfigError, match="limits"):
        WebConfig(max_mb=0)
