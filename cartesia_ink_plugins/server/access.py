"""Credentials, API version and origin of a request.

A browser lets any web page open a WebSocket to this machine and sends only the page's origin. So
pages of foreign origins are rejected unless they are allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

ANY_ORIGIN = "*"


def credential(request: web.Request) -> str:
    """Return the credential: X-API-Key, else Bearer, else access_token; "" if there is none."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return (
        request.headers.get("X-API-Key")
        or (bearer.strip() if scheme.lower() == "bearer" else "")
        or request.query.get("access_token", "")
    )


def requested_version(request: web.Request) -> str:
    """Return the requested API version; the query takes precedence over the header."""
    version = request.query.get("cartesia_version") or request.headers.get("Cartesia-Version")
    return version or ""


def is_foreign(origin: str | None, allowed: Collection[str]) -> bool:
    """Whether a request comes from a web page that may not connect.

    Args:
        origin: The Origin header, which only browsers send; None if there is none.
        allowed: Origins that may connect, beside those of this machine, such as
            `https://app.example`; `*` is all.
    """
    if origin is None or origin in allowed or ANY_ORIGIN in allowed:
        return False
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return True
    return not _is_loopback(host)


def _is_loopback(host: str) -> bool:
    """Whether a host name or address is that of this machine, without DNS."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
