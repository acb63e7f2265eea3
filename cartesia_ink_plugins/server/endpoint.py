"""What both streaming endpoints share on one connection: audio, messages, errors, the idle timeout.

No IO: what is sent is passed to `send`, and `now` is an argument, in seconds.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Connected, ErrorMessage, ManualMessage, TurnEvent
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.engine import Close, Raw, RecognitionStream
from cartesia_ink_plugins.server.frames import WireItem
from cartesia_ink_plugins.server.manual_engine import ManualRecognitionStream
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.validate import CURRENT_VERSION, Command, RequestRejectedError

logger = logging.getLogger(__name__)

Send: TypeAlias = Callable[[Sequence[WireItem]], None]
ServerMessage: TypeAlias = Connected | TurnEvent | ManualMessage | ErrorMessage

_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011
_GOING_AWAY = 1001
INTERNAL = ErrorMessage(500, "Internal server error.", "Internal Server Error")


class EndpointConnection(ABC):
    """One connection to a streaming endpoint.

    Attributes:
        is_closed: Whether a close frame was sent or the connection was lost.
    """

    def __init__(self, record: ConnectionRecord, rules: Rules, version: str, send: Send) -> None:
        """Create the connection; nothing is sent before `start`.

        Args:
            record: The log of the connection.
            rules: The server's limits.
            version: The `cartesia_version` of the request; "" if it has none.
            send: Sends items in one TCP segment; nothing follows a `Close`.
        """
        self.is_closed = False
        self._record = record
        self._rules = rules
        self._version = version
        self._send = send
        self._format: AudioFormat | None = None
        self._stream: RecognitionStream | ManualRecognitionStream | None = None
        self._partial_sample = b""
        self._overload = OverloadGuard(rules.overload_rate, rules.overload_seconds)
        self._active_at = 0.0

    # --- in -----------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Check the query and open a recognition stream; reject an invalid query."""
        self._active_at = now
        try:
            self._open()
        except RequestRejectedError as rejection:
            self.reject(rejection)

    def receive_audio(self, data: bytes, now: float) -> None:
        """Pass whole samples to the engine; audio much faster than real time is an error."""
        if self._format is None or self._stream is None or self.is_closed:
            return
        self._active_at = now
        self._record.audio_bytes += len(data)
        self._record.audio_seconds = self._format.seconds(self._record.audio_bytes)
        if not self._overload.allows(self._format.seconds(len(data)), now):
            self._record.client_error = "audio came much faster than real time"
            self.fail()
            return
        data = self._partial_sample + data
        whole = len(data) - len(data) % self._format.sample_width
        self._partial_sample = data[whole:]
        if whole:
            self._call_engine(self._stream.receive_audio, data[:whole])

    def receive_text(self, text: str) -> Command | None:
        """Apply a text message; reject an unknown one.

        Returns:
            The command to run: for `FINALIZE` call `flush`, for `CLOSE` call `finish`.
        """
        if self._stream is None or self.is_closed:
            return None
        self._record.add_received(text)
        return self._command(text)

    def ping(self, now: float) -> None:
        """Count a ping; it restarts the idle timeout only if the rules say so."""
        self._record.pings += 1
        if self._rules.pings_are_activity:
            self._active_at = now

    def idle_deadline(self) -> float:
        """When the idle timeout expires."""
        return self._active_at + self._rules.idle_timeout

    def expire(self, now: float) -> None:
        """Close with 1001 if the idle timeout has expired."""
        if now >= self.idle_deadline():
            self.send([Close(_GOING_AWAY, "Idle timeout")])

    async def flush(self) -> None:  # noqa: B027
        """Run `finalize`; the turns endpoint does not have it."""

    @abstractmethod
    async def finish(self) -> None:
        """Run `close`: send all text, then close the connection."""

    def abort(self) -> None:
        """Free everything after the connection was lost."""
        self.is_closed = True
        if self._stream is not None:
            self._stream.abort()

    @abstractmethod
    def _open(self) -> None:
        """Read the query; set `_format` and `_stream`.

        Raises:
            RequestRejectedError: The query is invalid.
        """

    @abstractmethod
    def _command(self, text: str) -> Command | None:
        """Apply a text message, or return the command it is."""

    # --- out ----------------------------------------------------------------------------------

    def send(self, messages: Sequence[ServerMessage | Raw | Close]) -> None:
        """Send messages in one segment; nothing is sent after a `Close`."""
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

    def reject(self, rejection: RequestRejectedError) -> None:
        """Answer a client error: `error`, then close 1008."""
        self._record.client_error = rejection.answer.message
        self.send([rejection.answer, Close(_POLICY_VIOLATION, rejection.answer.title or "")])

    def fail(self) -> None:
        """Report an internal error and close with 1011."""
        self.send([INTERNAL, Close(_INTERNAL_ERROR, INTERNAL.title or "")])

    def engine_failed(self) -> None:
        """Log the exception that the engine has just raised, and fail."""
        logger.exception("connection %d: the engine failed", self._record.number)
        self.fail()

    def _call_engine(self, call: Callable[..., None], *args: object) -> None:
        """Call the engine; its exception is an internal error of the server."""
        try:
            call(*args)
        except Exception:
            self.engine_failed()

    def _text(self, message: ServerMessage) -> str:
        message = replace(message, request_id=message.request_id or self._record.request_id)
        if isinstance(message, ErrorMessage):
            return encode_error(message, self._version)
        text = encode(message)
        if self._rules.extra_fields:
            return json.dumps({**json.loads(text), "new_field": {"nested": [1, None]}})
        return text


def encode_error(error: ErrorMessage, version: str) -> str:
    """Encode an error as the API version does: `status_code` only since 2026-03-01.

    https://docs.cartesia.ai/use-the-api/api-conventions
    """
    if version and version < CURRENT_VERSION:
        fields = {"type": "error", "message": error.message, "code": error.status}
        return json.dumps(fields | {"request_id": error.request_id})
    return encode(error)


class OverloadGuard:
    """A leaky bucket of audio, in seconds, which leaks at `rate` times real time."""

    def __init__(self, rate: float, seconds: float | None) -> None:
        """Begin empty; `seconds` is the capacity, None is no limit."""
        self._rate = rate
        self._limit = seconds
        self._level = 0.0
        self._at = 0.0

    def allows(self, seconds: float, now: float) -> bool:
        """Add `seconds` of audio received at `now`; return whether the bucket holds it."""
        if self._limit is None:
            return True
        self._level = max(0.0, self._level - self._rate * (now - self._at)) + seconds
        self._at = now
        return self._level <= self._limit
