"""What the proxy reads and writes of HTTP and of messages, without IO."""

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


def message_kind(frame: Frame) -> str | None:
    """The type of a message; None if it has none."""
    return _text(frame, "type")


def message_id(frame: Frame) -> str | None:
    """The request id of a message; None if it has none."""
    return _text(frame, "request_id")


def _text(frame: Frame, name: str) -> str | None:
    try:
        data = json.loads(frame.payload)
    except (ValueError, RecursionError):
        return None
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, str) else None


def audio_format(head: bytes) -> AudioFormat:
    """The audio a client announces in its request; 16-bit, 16 kHz if it does not."""
    words = head.split(b" ", 2)
    target = words[1].decode("latin-1") if len(words) > 1 else ""
    try:
        query = dict(parse_qsl(urlsplit(target).query))
        audio = AudioFormat(Encoding(query["encoding"]), int(query["sample_rate"]))
    except (KeyError, ValueError):
        return AudioFormat()
    return audio if audio.sample_rate > 0 else AudioFormat()


def for_server(head: bytes, host: str) -> bytes:
    """Ask `host`, and for no compression: the proxy has to read the frames."""
    request, *lines = head.split(b"\r\n")
    ours = (b"host:", b"sec-websocket-extensions:")
    kept = [line for line in lines if not line.lower().startswith(ours)]
    return b"\r\n".join([request, b"Host: " + host.encode(), *kept])


def refusal(refuse: Refuse) -> bytes:
    """Write the answer to an upgrade that is refused, as the server itself would."""
    title, request_id = responses.get(refuse.status, "Refused"), str(uuid.uuid4())
    text, code = f"{title}: a fault that was asked for.", _CODES.get(refuse.status)
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
