"""The HTTP heads and the messages that the fault proxy parses and writes, without IO."""

from __future__ import annotations

import json
import uuid
from http.client import responses
from urllib.parse import parse_qsl, urlsplit

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.events import ErrorMessage
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.faults import Refuse
from cartesia_ink_plugins.server.frames import Frame

# https://docs.cartesia.ai/use-the-api/api-errors
_CODES = {402: "quota_exceeded", 429: "concurrency_limited"}


def message_type(frame: Frame) -> str | None:
    """Return the type of a message; None if it has none."""
    return _member(frame, "type")


def message_request_id(frame: Frame) -> str | None:
    """Return the request id of a message; None if it has none."""
    return _member(frame, "request_id")


def _member(frame: Frame, name: str) -> str | None:
    try:
        data = json.loads(frame.payload)
    except (ValueError, RecursionError):
        return None
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, str) else None


def audio_format(head: bytes) -> AudioFormat:
    """Return the audio format in the head of a request; 16-bit, 16 kHz if it has none."""
    line = head.split(b" ", 2)
    target = line[1].decode("latin-1") if len(line) > 1 else ""
    try:
        query = dict(parse_qsl(urlsplit(target).query))
        audio = AudioFormat(Encoding(query["encoding"]), int(query["sample_rate"]))
    except (KeyError, ValueError):
        return AudioFormat()
    return audio if audio.sample_rate > 0 else AudioFormat()


def upstream_head(head: bytes, host: str) -> bytes:
    """Return the head for the server at `host`, without compression: the proxy parses frames."""
    request, *lines = head.split(b"\r\n")
    replaced = (b"host:", b"sec-websocket-extensions:")
    kept = [line for line in lines if not line.lower().startswith(replaced)]
    return b"\r\n".join([request, b"Host: " + host.encode(), *kept])


def rejection(refuse: Refuse) -> bytes:
    """Return the HTTP response to a rejected upgrade, in the form of the server's own."""
    title, request_id = responses.get(refuse.status, "Rejected"), str(uuid.uuid4())
    text, code = f"{title}: injected fault.", _CODES.get(refuse.status)
    error = ErrorMessage(refuse.status, text, title, code, request_id=request_id)
    body = encode(error).encode()
    head = [
        f"HTTP/1.1 {refuse.status} {title}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {request_id}",
        "Connection: close",
    ]
    if refuse.retry_after is not None:
        head.append(f"Retry-After: {refuse.retry_after:g}")
    return "\r\n".join([*head, "", ""]).encode() + body
