"""What HTTP servers answer: read so that nothing they say raises anything.

Each function gives a value, or None where there is none, for whatever bytes.
"""

from __future__ import annotations

import email.utils
import math
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cartesia_ink_plugins.core.json_text import json_object
from cartesia_ink_plugins.core.log import one_line

Redact: TypeAlias = Callable[[str], str]

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""As zlib calls a header that it is to recognise by itself."""


def is_api_error(body: bytes) -> bool:
    """Whether an answer has the shape of the API's errors, of any version.

    What stands between us and the API, such as a load balancer or a proxy, answers otherwise.
    """
    fields = json_object(body)
    if fields is None or fields.get("type") != "error":
        return False
    status = fields.get("status_code", fields.get("code"))
    return isinstance(fields.get("message"), str) and isinstance(status, int)


def decompress(body: bytes, encoding: str, limit: int) -> bytes | None:
    """Undo a Content-Encoding: gzip or deflate.

    Args:
        body: What was received.
        encoding: The value of the header; empty for none.
        limit: The most bytes that may come out.

    Returns:
        The content; None if the encoding is another one, if the body is damaged, or if more than
        `limit` bytes come out of it.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body if len(body) <= limit else None
        case "gzip" | "x-gzip" | "deflate":
            pass
        case _:
            return None
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error:
        return None
    return content if unpacker.eof and len(content) <= limit else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer to the upgrade says, without our secrets.

    Attributes:
        retry_after: Seconds until the next attempt, if it says so.
        message: What it says of itself; empty if nothing that can be read.
        request_id: To quote to Cartesia's support.
        is_api_error: Whether it is an error in the shape of the API.
    """

    retry_after: float | None
    message: str
    request_id: str | None
    is_api_error: bool


def read_answer(headers: Mapping[str, str], body: bytes, redact: Redact) -> Answer:
    """Read an answer whose header names are in lower case."""
    request_id = headers.get("x-request-id")
    return Answer(
        retry_after=retry_after_seconds(headers.get("retry-after")),
        message=explanation(body, redact),
        request_id=None if request_id is None else one_line(redact(request_id)),
        is_api_error=is_api_error(body),
    )


def explanation(body: bytes, redact: Redact) -> str:
    """What an HTTP error says of itself, in one short line.

    Older versions of the API say it in plain text: https://docs.cartesia.ai/use-the-api/api-errors

    Args:
        body: Of the answer.
        redact: Takes our secrets out of text.
    """
    fields = json_object(body)
    if fields is None:
        text = body.decode("utf-8", "ignore")
    else:
        texts = (fields.get("message"), fields.get("title"))
        text = next((text for text in texts if isinstance(text, str) and text), "")
    line = " ".join(redact(text).split())
    return line[:200] if line.isprintable() and not line.startswith(("<", "[", "{")) else ""


def retry_after_seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date. None if it is neither."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except Exception:  # of an absurd date it raises ValueError, OverflowError, OSError and more
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
