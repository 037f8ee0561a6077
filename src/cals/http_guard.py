"""Checks of HTTP headers that the page and the API share; both refuse foreign host names and wrong tokens."""

import hmac
from urllib.parse import urlsplit


def get_host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_origin_of(origin: str, host: str) -> bool:
    """Return whether an Origin header names the site of a Host header."""
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False


def get_bearer_token(authorization: str) -> str:
    """Return the token of an Authorization header; empty for another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_token(text: str, token: str) -> bool:
    """Compare a text of a client with the token, in constant time."""
    return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), token.encode())
