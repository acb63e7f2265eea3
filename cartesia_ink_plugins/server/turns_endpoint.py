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

from cartesia_ink_plugins.core.errors import TurnOrderError
from cartesia_ink_plugins.core.events import Connected, ErrorMessage, TurnEvent
from cartesia_ink_plugins.core.turn_table import TurnMachine
from cartesia_ink_plugins.server.engine import Close, Ear, Engine, Outgoing, Raw, TurnThresholds
from cartesia_ink_plugins.server.exchange import Exchange, Send
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.validate import (
    Command,
    Refused,
    TurnsRequest,
    parse_query,
    parse_text,
)

logger = logging.getLogger(__name__)


class TurnsConnection:
    """What the server knows and says on one connection.

    Attributes:
        exchange: What is the same on every endpoint: idleness, and the way out.
    """

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
        self.exchange = Exchange(record, rules, version, send)
        self._record = record
        self._engine = engine
        self._rules = rules
        self._machine = TurnMachine(f"server {record.number}", logger)
        self._request: TurnsRequest | None = None
        self._thresholds = TurnThresholds()
        self._ear: Ear | None = None

    def start(self, now: float) -> None:
        """Check the settings; say `connected`, or why not."""
        self.exchange.begin(now)
        try:
            request = parse_query(self._record.query, self._rules)
        except Refused as refusal:
            self.exchange.refuse(refusal)
            return
        self._request = request
        self._thresholds = request.thresholds
        self.emit(self._greeting())
        self._ear = self._engine.open(
            request.format, request.thresholds, self.emit, keyterms=request.keyterms
        )

    def receive_audio(self, data: bytes, now: float) -> None:
        """Let the engine hear what came."""
        if self._request is None or self._ear is None or self.exchange.is_closed:
            return
        if pcm := self.exchange.audio(data, self._request.format, now):
            self._guarded(self._ear.hear, pcm)

    def receive_text(self, text: str) -> Command | None:
        """Apply `config`; answer what is not known.

        Returns:
            `Command.CLOSE` if the client asked to close: then call `finish`.
        """
        if self._ear is None or self.exchange.is_closed:
            return None
        self._record.add_received(text)
        try:
            parsed = parse_text(text, self._thresholds, self._rules)
        except Refused as refusal:
            if self._rules.refuse_text or refusal.answer.title == "Invalid turn settings":
                self.exchange.refuse(refusal)
            return None
        if isinstance(parsed, Command):
            return parsed
        self._thresholds = parsed
        self._guarded(self._ear.configure, parsed)
        return None

    async def flush(self) -> None:
        """Nothing: this endpoint has no `finalize`."""

    async def finish(self) -> None:
        """Flush, end an open turn and close. There is no `done` on this endpoint."""
        if self._ear is None or self.exchange.is_closed:
            return
        if not self._record.audio_bytes and self._rules.close_unused == "error":
            unused = Refused("No audio", "The connection was closed before any audio came.")
            self.exchange.refuse(unused)
            return
        try:
            await self._ear.close()
        except Exception:
            self.exchange.fall()
            return
        self.emit([Close(1000)])

    def abort(self) -> None:
        """Free everything: the connection is gone."""
        self.exchange.is_closed = True
        if self._ear is not None:
            self._ear.abort()

    def emit(self, messages: Sequence[Outgoing]) -> None:
        """Send messages in one segment, but no turn event that may not come now."""
        for index, message in enumerate(messages):
            if isinstance(message, Connected | ErrorMessage | Raw):
                continue
            if isinstance(message, Close) or self.exchange.is_closed:
                break
            if not self._may_come(message):
                self.exchange.emit(messages[:index])
                self.exchange.fail()
                return
        self.exchange.emit(messages)

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
            self.exchange.fall()
