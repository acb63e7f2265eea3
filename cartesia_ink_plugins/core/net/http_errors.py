"""What an HTTP answer says about an error, read from foreign bytes: a value, never an exception."""

from __future__ import annotations

import email.utils
import json
import math
import time


def explanation(body: bytes) -> str:
    """What an HTTP error says of itself, in one short line.

    Older versions of the API say it in plain text: https://docs.cartesia.ai/use-the-api/api-errors
    """
    try:
        fields = json.loads(body)
        text = str(fields.get("message") or fields.get("title") or "")
    except (AttributeError, RecursionError):
        return ""
    except ValueError:
        text = body.decode("utf-8", "ignore")
    line = " ".join(text.split())
    return line[:200] if line.isprintable() and not line.startswith("<") else ""


def retry_after_seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        return max(0.0, moment.timestamp() - time.time())
