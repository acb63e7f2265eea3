"""What both streaming endpoints do alike on one connection: take audio in, send, refuse, grow idle.

No IO: what is to be sent goes to `send`, and `now` is an argument.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Connected, ErrorMessage, ManualMessage, TurnEvent
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.engine import Close, Raw
from cartesia_ink_plugins.server.frames import WireItem
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.validate import CURRENT_VERSION, Refused

logger = logging.getLogger(__name__)

Send: TypeAlias = Callable[[Sequence[WireItem]], None]
Said: TypeAlias = Connected | TurnEvent | ManualMessage | ErrorMessage

_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011
_GOING_AWAY = 1001
INTERNAL = ErrorMessage(500, "Internal server error.", "Internal Server Error")


class Exchange:
    """One connection, as far as it is the same on both endpoints."""

    def __init__(self, record: ConnectionRecord, rules: Rules, version: str, send: Send) -> None:
        """Begin.

        Args:
            record: Where everything is written down.
            rules: What is allowed.
            version: The `cartesia_version` asked for; "" if none was.
            send: Takes what is to be sent in one TCP segment; after a `Close` nothing more follows.
        """
        self.is_closed = False
        self._record = record
        self._rules = rules
        self._version = version
        self._send = send
        self._rest = b""
        self._allowance = OverloadGuard(rules.overload_rate, rules.overload_seconds)
        self._active_at = 0.0

    # --- in -----------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """The connection is there."""
        self._active_at = now

    def audio(self, data: bytes, audio: AudioFormat, now: float) -> bytes:
        """Take audio in; a sample cut in two waits for its other half.

        Returns:
            What can be heard now; nothing of what comes much faster than real time, which fails.
        """
        self._active_at = now
        self._record.audio_bytes += len(data)
        self._record.audio_seconds = audio.seconds(self._record.audio_bytes)
        if not self._allowance.allows(audio.seconds(len(data)), now):
            self._record.complaint = "audio came much faster than real time"
            self.fail()
            return b""
        data = self._rest + data
        whole = len(data) - len(data) % audio.sample_width
        self._rest = data[whole:]
        return data[:whole]

    def ping(self, now: float) -> None:
        """Count a ping; it keeps no connection alive, unless the rules say so."""
        self._record.pings += 1
        if self._rules.pings_are_activity:
            self._active_at = now

    def idle_deadline(self) -> float:
        """When the connection has been idle for too long."""
        return self._active_at + self._rules.idle_timeout

    def expire(self, now: float) -> None:
        """Close, if the connection has been idle for too long."""
        if now >= self.idle_deadline():
            self.emit([Close(_GOING_AWAY, "Idle timeout")])

    # --- out ----------------------------------------------------------------------------------

    def emit(self, messages: Sequence[Said | Raw | Close]) -> None:
        """Send messages in one segment; after a `Close` nothing is sent any more."""
        items: list[WireItem] = []
        for message in messages:
            if self.is_closed:
                break
            match message:
                case Close():
                    self.is_closed = True
                    items.append(message)
                case Raw(str() | bytes() as data):
                    items.append(data)
                case Raw(inner):
                    items.append(self._text(inner))  # type: ignore[arg-type]
                case _:
                    items.append(self._text(message))
        self._record.add_sent(item for item in items if not isinstance(item, Close))
        if items:
            self._send(items)

    def refuse(self, refusal: Refused) -> None:
        """Answer a client error: `error`, then close 1008."""
        self._record.complaint = refusal.answer.message
        self.emit([refusal.answer, Close(_POLICY_VIOLATION, refusal.answer.title or "")])

    def fail(self) -> None:
        """Tell of an internal error, and close."""
        self.emit([INTERNAL, Close(_INTERNAL_ERROR, INTERNAL.title or "")])

    def fall(self) -> None:
        """The engine has just raised an exception: log it, and fail."""
        logger.exception("connection %d: the engine failed", self._record.number)
        self.fail()

    def _text(self, message: Said) -> str:
        message = replace(message, request_id=message.request_id or self._record.request_id)
        if isinstance(message, ErrorMessage):
            return encode_error(message, self._version)
        text = encode(message)
        if self._rules.extra_fields:
            return json.dumps({**json.loads(text), "new_field": {"nested": [1, None]}})
        return text


def encode_error(error: ErrorMessage, version: str) -> str:
    """Write an error in the shape of the version: `status_code` only since 2026-03-01.

    https://docs.cartesia.ai/use-the-api/api-conventions
    """
    if version and version < CURRENT_VERSION:
        fields = {"type": "error", "message": error.message, "code": error.status}
        return json.dumps(fields | {"request_id": error.request_id})
    return encode(error)


class OverloadGuard:
    """Tells when audio comes much faster than real time for long.

    A bucket: audio fills it, time empties it at `rate` times real time.
    """

    def __init__(self, rate: float, seconds: float | None) -> None:
        """Begin empty; `seconds` None allows everything."""
        self._rate = rate
        self._limit = seconds
        self._level = 0.0
        self._at = 0.0

    def allows(self, seconds: float, now: float) -> bool:
        """Take `seconds` of audio that came at `now`."""
        if self._limit is None:
            return True
        self._level = max(0.0, self._level - self._rate * (now - self._at)) + seconds
        self._at = now
        return self._level <= self._limit
