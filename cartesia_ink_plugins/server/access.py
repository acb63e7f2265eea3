"""Who calls, and what for: credentials, version, and the origin of a web page.

A browser lets any page of the internet open a WebSocket to this machine, and tells us only the
page's origin. So a page from elsewhere is rejected unless it is allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

ANY_ORIGIN = "*"


def credential(request: web.Request) -> str:
    """Return who calls: X-API-Key, Bearer or access_token, whichever comes first; "" for nobody."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return (
        request.headers.get("X-API-Key")
        or (bearer.strip() if scheme.lower() == "bearer" else "")
        or request.query.get("access_token", "")
    )


def requested_version(request: web.Request) -> str:
    """Return the version of the API that is asked for; the query wins over the header."""
    version = request.query.get("cartesia_version") or request.headers.get("Cartesia-Version")
    return version or ""


def is_foreign(origin: str | None, allowed: Collection[str]) -> bool:
    """Whether a request comes from a web page that may not call.

    Args:
        origin: The Origin header; None where there is none, for only browsers send it.
        allowed: Origins that may call beside those of this machine, such as
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
    """Whether a name or an address is of this machine, whatever DNS says."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
