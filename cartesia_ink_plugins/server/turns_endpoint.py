"""One connection to `/stt/turns/websocket`, without IO.

Bytes and texts go in, what is to be sent comes out through `send`, `now` is an argument. Who calls
is known before; here begins what happens inside the connection:

    start ─▶ connected ─▶ audio, config … turn events ─▶ close ─▶ open turn ends ─▶ close 1000
      └▶ error, close 1008 (invalid settings)   └▶ error, close (client error, overload)

https://docs.cartesia.ai/api-reference/stt/turns/websocket
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from cartesia_ink_plugins.core.errors import TurnOrderError
from cartesia_ink_plugins.core.events import (
    Connected,
    ErrorMessage,
    TurnEvent,
    encode,
)
from cartesia_ink_plugins.core.turns import TurnMachine
from cartesia_ink_plugins.server.engine import Close, Ear, Engine, Outgoing, Raw, TurnThresholds
from cartesia_ink_plugins.server.frames import WireItem
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.validate import (
    CURRENT_VERSION,
    Command,
    Refused,
    TurnsRequest,
    parse_query,
    parse_text,
)

logger = logging.getLogger(__name__)

Send: TypeAlias = Callable[[Sequence[WireItem]], None]

_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011
_GOING_AWAY = 1001


class TurnsConnection:
    """What the server knows and says on one connection."""

    def __init__(
        self, record: ConnectionRecord, engine: Engine, rules: Rules, version: str, send: Send
    ) -> None:
        """Begin before `start`.

        Args:
            record: Where everything is written down.
            engine: Who hears the audio.
            rules: What is allowed.
            version: The `cartesia_version` asked for; "" if none was.
            send: Takes what is to be sent in one TCP segment; after a `Close` nothing more follows.
        """
        self._record = record
        self._engine = engine
        self._rules = rules
        self._version = version
        self._send = send
        self._machine = TurnMachine(f"server {record.number}")
        self._request: TurnsRequest | None = None
        self._thresholds = TurnThresholds()
        self._ear: Ear | None = None
        self._rest = b""
        self._allowance = OverloadGuard(rules.overload_rate, rules.overload_seconds)
        self._active_at = 0.0
        self.is_closed = False

    def start(self, now: float) -> None:
        """Check the settings; say `connected`, or why not."""
        try:
            request = parse_query(self._record.query, self._rules)
        except Refused as refusal:
            self._refuse(refusal)
            return
        self._active_at = now
        self._request = request
        self._thresholds = request.thresholds
        self.emit(self._greeting())
        self._ear = self._engine.open(
            request.format, request.thresholds, self.emit, keyterms=request.keyterms
        )

    def receive_audio(self, data: bytes, now: float) -> None:
        """Let the engine hear what came; a sample cut in two waits for its other half."""
        if self._request is None or self._ear is None or self.is_closed:
            return
        audio = self._request.format
        self._active_at = now
        self._record.audio_bytes += len(data)
        self._record.audio_seconds = audio.seconds(self._record.audio_bytes)
        if not self._allowance.allows(audio.seconds(len(data)), now):
            self._record.complaint = "audio came much faster than real time"
            self.fail(ErrorMessage(500, "Internal server error.", "Internal Server Error"))
            return
        data = self._rest + data
        whole = len(data) - len(data) % audio.sample_width
        self._rest = data[whole:]
        self._guarded(self._ear.hear, data[:whole])

    def receive_text(self, text: str) -> Command | None:
        """Apply `config`; answer what is not known.

        Returns:
            `Command.CLOSE` if the client asked to close: then call `finish`.
        """
        self._record.received.append(text)
        if self._ear is None or self.is_closed:
            return None
        try:
            parsed = parse_text(text, self._thresholds, self._rules)
        except Refused as refusal:
            if self._rules.refuse_text or refusal.answer.title == "Invalid turn settings":
                self._refuse(refusal)
            return None
        if isinstance(parsed, Command):
            return parsed
        self._thresholds = parsed
        self._guarded(self._ear.configure, parsed)
        return None

    def receive_ping(self, now: float) -> None:
        """Count a ping; it keeps no connection alive, unless the rules say so."""
        self._record.pings += 1
        if self._rules.pings_are_activity:
            self._active_at = now

    async def flush(self) -> None:
        """Nothing: this endpoint has no `finalize`."""

    async def finish(self) -> None:
        """Flush, end an open turn and close. There is no `done` on this endpoint."""
        if self._ear is None or self.is_closed:
            return
        if not self._record.audio_bytes and self._rules.close_unused == "error":
            self._refuse(Refused("No audio", "The connection was closed before any audio came."))
            return
        try:
            await self._ear.close()
        except Exception:
            self._fall()
            return
        self.emit([Close(1000)])

    def idle_deadline(self) -> float:
        """When the connection has been idle for too long."""
        return self._active_at + self._rules.idle_timeout

    def expire(self, now: float) -> None:
        """Close, if the connection has been idle for too long."""
        if now >= self.idle_deadline():
            self.emit([Close(_GOING_AWAY, "Idle timeout")])

    def fail(self, error: ErrorMessage, code: int = _INTERNAL_ERROR) -> None:
        """Say an error and close."""
        self.emit([error, Close(code, error.title or "")])

    def abort(self) -> None:
        """Free everything: the connection is gone."""
        self.is_closed = True
        if self._ear is not None:
            self._ear.abort()

    def emit(self, messages: Sequence[Outgoing]) -> None:
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
                case Connected() | ErrorMessage():
                    items.append(self._text(message))
                case _ if self._may_come(message):
                    items.append(self._text(message))
                case _:
                    items += self._fallen()
        self._record.sent.extend(item for item in items if not isinstance(item, Close))
        if items:
            self._send(items)

    def _greeting(self) -> list[Outgoing]:
        """`connected`; with `extra_fields` also a message of a type that nobody knows yet."""
        if not self._rules.extra_fields:
            return [Connected()]
        return [Connected(), Raw(json.dumps({"type": "turn.sentiment", "sentiment": "curious"}))]

    def _may_come(self, event: TurnEvent) -> bool:
        try:
            self._machine.advance(type(event))
        except TurnOrderError as error:
            logger.error("connection %d: engine: %s", self._record.number, error)
            self._record.violation = str(error)
            return False
        return True

    def _guarded(self, call: Callable[..., None], *args: object) -> None:
        """Call the engine; a fault of the engine is an internal error of the server."""
        try:
            call(*args)
        except Exception:
            self._fall()

    def _fall(self) -> None:
        logger.exception("connection %d: the engine failed", self._record.number)
        self.fail(ErrorMessage(500, "Internal server error.", "Internal Server Error"))

    def _fallen(self) -> list[WireItem]:
        self.is_closed = True
        error = ErrorMessage(500, "Internal server error.", "Internal Server Error")
        return [self._text(error), Close(_INTERNAL_ERROR, "Internal Server Error")]

    def _refuse(self, refusal: Refused) -> None:
        """Answer a client error: `error`, then close 1008."""
        self._record.complaint = refusal.answer.message
        self.emit([refusal.answer, Close(_POLICY_VIOLATION, refusal.answer.title or "")])

    def _text(self, message: Connected | TurnEvent | ErrorMessage) -> str:
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
