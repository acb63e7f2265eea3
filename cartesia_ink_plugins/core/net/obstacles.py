"""Why connecting fails in a way that waiting does not mend, and what to check.

The session reconnects all the same: a certificate is renewed, a proxy repaired, a name registered.
But a person has to know of it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.core.events import Unreachable
from cartesia_ink_plugins.core.log import one_line

TELL_AFTER = 10.0
"""Seconds of nothing but such failures; a deploy or a network that comes up is over by then."""

_EXPIRED, _NOT_YET_VALID = 10, 9  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and ..._NOT_YET_VALID


class ProxyError(InkError):
    """A proxy does not connect us.

    Attributes:
        status: What it answered; None if that was nothing, or no HTTP.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        """Describe it in one line."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A cause that waiting does not remove.

    Attributes:
        reason: The cause, in one line.
        check: What to look at.
    """

    reason: str
    check: str


def obstacle_of_error(error: Exception) -> Obstacle | None:
    """Return what stands in the way when a connection could not be opened; None if it may pass."""
    match error:
        case UsageError():
            return Obstacle(str(error), str(error).partition(":")[0])
        case ProxyError(status=407):
            return Obstacle(str(error), "user and password in HTTPS_PROXY")
        case ProxyError(status=int() as status) if 400 <= status < 500:
            return Obstacle(str(error), "whether the proxy in HTTPS_PROXY lets this host through")
        case ssl.SSLCertVerificationError():
            clock = error.verify_code in (_EXPIRED, _NOT_YET_VALID)
            return Obstacle(
                f"the certificate of the server is not trusted: {one_line(error.verify_message)}",
                "the clock of this machine, and base_url"
                if clock
                else "base_url, the certificates of this machine, and ssl_context",
            )
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST"):
            return Obstacle("the server does not speak TLS", "scheme and port of base_url")
        case socket.gaierror():
            return Obstacle(
                "the host name cannot be resolved",
                "base_url, HTTPS_PROXY if it is set, and network and DNS of this machine",
            )
        case _:
            return None


def obstacle_of_answer(status: int, headers: Mapping[str, str]) -> Obstacle | None:
    """Return what an answer to the upgrade shows to stand in the way; None if it may pass.

    Args:
        status: Of the answer, without the rejections that end the session.
        headers: With names in lower case, without secrets.
    """
    if 300 <= status < 400:
        to = _host(headers.get("location", ""))
        return Obstacle(
            f"HTTP {status} redirects{to}, which is not followed: it would get the key",
            "base_url, and whether this network has a login page",
        )
    if status == 407:
        return Obstacle("HTTP 407: a proxy wants a password", "user and password in HTTPS_PROXY")
    if status < 300:
        return Obstacle(
            f"HTTP {status}: something answers that is no WebSocket server",
            "base_url, and whether this network has a login page",
        )
    return None


def _host(location: str) -> str:
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return f" to {one_line(host)}" if host else ""


class ObstacleWatch:
    """Tells once that there has been nothing but obstacles for a while."""

    __slots__ = ("_is_told", "_since")

    def __init__(self) -> None:
        """Begin without any."""
        self._since: float | None = None
        self._is_told = False

    def opened(self) -> None:
        """A connection was opened."""
        self._since, self._is_told = None, False

    def failed(self, obstacle: Obstacle | None, now: float) -> Unreachable | None:
        """An attempt failed; return what is to be told.

        Args:
            obstacle: Why; None if that may pass by itself.
            now: The time, in seconds.
        """
        if obstacle is None:
            self._since = None
            return None
        if self._since is None:
            self._since = now
        seconds = now - self._since
        if self._is_told or seconds < TELL_AFTER:
            return None
        self._is_told = True
        return Unreachable(obstacle.reason, obstacle.check, seconds)
