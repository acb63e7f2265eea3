"""One connection to `/stt/turns/websocket`, without IO.

    start ─▶ connected ─▶ audio, config … turn events ─▶ close ─▶ open turn ends ─▶ close 1000
      └▶ error, close 1008 (invalid settings)   └▶ error, close (client error, overload)

https://docs.cartesia.ai/api-reference/stt/turns/websocket
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from cartesia_ink_plugins.core.errors import TurnOrderError
from cartesia_ink_plugins.core.events import Connected, ErrorMessage, TurnEvent
from cartesia_ink_plugins.core.turn_table import TurnMachine
from cartesia_ink_plugins.server.endpoint import EndpointConnection, Send
from cartesia_ink_plugins.server.engine import (
    Close,
    Engine,
    Outgoing,
    Raw,
    RecognitionStream,
    TurnThresholds,
)
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.validate import (
    Command,
    RequestRejectedError,
    parse_query,
    parse_text,
)

logger = logging.getLogger(__name__)


class TurnsConnection(EndpointConnection):
    """One connection to the turns endpoint."""

    _stream: RecognitionStream | None

    def __init__(
        self, record: ConnectionRecord, engine: Engine, rules: Rules, version: str, send: Send
    ) -> None:
        """Create the connection on `engine`; see `EndpointConnection`."""
        super().__init__(record, rules, version, send)
        self._engine = engine
        self._machine = TurnMachine(f"server {record.number}", logger)
        self._thresholds = TurnThresholds()

    def _open(self) -> None:
        """Send `connected` and open a recognition stream."""
        request = parse_query(self._record.query, self._rules)
        self._format, self._thresholds = request.format, request.thresholds
        greeting: list[Outgoing] = [Connected()]
        if self._rules.extra_fields:
            greeting.append(Raw(json.dumps({"type": "turn.sentiment", "sentiment": "curious"})))
        self.emit(greeting)
        self._stream = self._engine.open(
            request.format, request.thresholds, self.emit, keyterms=request.keyterms
        )

    def _command(self, text: str) -> Command | None:
        """Apply `config`, or return `Command.CLOSE`."""
        try:
            parsed = parse_text(text, self._thresholds, self._rules)
        except RequestRejectedError as rejection:
            if self._rules.reject_text or rejection.answer.title == "Invalid turn settings":
                self.reject(rejection)
            return None
        if isinstance(parsed, Command):
            return parsed
        self._thresholds = parsed
        if self._stream is not None:
            self._call_engine(self._stream.configure, parsed)
        return None

    async def finish(self) -> None:
        """End an open turn and close with 1000. This endpoint sends no `done`."""
        if self._stream is None or self.is_closed:
            return
        if not self._record.audio_bytes and self._rules.close_unused == "error":
            self.reject(
                RequestRejectedError("No audio", "The connection was closed before any audio came.")
            )
            return
        try:
            await self._stream.close()
        except Exception:
            self.engine_failed()
            return
        self.emit([Close(1000)])

    def emit(self, messages: Sequence[Outgoing]) -> None:
        """Send messages in one segment; a turn event out of order is an internal error."""
        for index, message in enumerate(messages):
            if isinstance(message, Connected | ErrorMessage | Raw):
                continue
            if isinstance(message, Close) or self.is_closed:
                break
            if not self._is_in_order(message):
                self.send(messages[:index])
                self.fail()
                return
        self.send(messages)

    def _is_in_order(self, event: TurnEvent) -> bool:
        try:
            self._machine.advance(type(event))
        except TurnOrderError as error:
            logger.error("connection %d: engine: %s", self._record.number, error)
            self._record.protocol_violation = str(error)
            return False
        return True
