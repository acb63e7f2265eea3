"""One connection to `/stt/websocket`, without IO.

    start ─▶ audio … transcripts (deltas)
               ├─ finalize ─▶ transcripts ─▶ flush_done
               └─ close ─▶ transcripts ─▶ done ─▶ close 1000

Commands are bare text, not JSON. There is no `connected`.

https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace

from cartesia_ink_plugins.core.events import ErrorMessage, encode
from cartesia_ink_plugins.core.transcripts import Done, FlushDone, Transcript
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.frames import WireItem
from cartesia_ink_plugins.server.manual_engine import ManualEar, ManualEngine, ManualRequest
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.turns_endpoint import OverloadGuard, Send, encode_error
from cartesia_ink_plugins.server.validate import (
    Command,
    Query,
    Refused,
    check_keyterms,
    check_model,
    parse_format,
)

logger = logging.getLogger(__name__)

_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011
_GOING_AWAY = 1001
_COMMANDS = {"finalize": Command.FINALIZE, "close": Command.CLOSE, "done": Command.CLOSE}
_INTERNAL = ErrorMessage(500, "Internal server error.", "Internal Server Error")


class ManualConnection:
    """What the server knows and says on one connection."""

    def __init__(
        self, record: ConnectionRecord, engine: ManualEngine, rules: Rules, version: str, send: Send
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
        self._request: ManualRequest | None = None
        self._ear: ManualEar | None = None
        self._rest = b""
        self._allowance = OverloadGuard(rules.overload_rate, rules.overload_seconds)
        self._active_at = 0.0
        self.is_closed = False

    def start(self, now: float) -> None:
        """Check the settings; say nothing, unless they are wrong."""
        self._active_at = now
        try:
            request = parse_manual_query(self._record.query, self._rules)
        except Refused as refusal:
            self._refuse(refusal)
            return
        self._request = request
        self._ear = self._engine.open_manual(request, self.emit)

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
            self.emit([_INTERNAL, Close(_INTERNAL_ERROR, "Internal Server Error")])
            return
        data = self._rest + data
        whole = len(data) - len(data) % audio.sample_width
        self._rest = data[whole:]
        try:
            self._ear.hear(data[:whole])
        except Exception:
            self._fall()

    def receive_text(self, text: str) -> Command | None:
        """Read a command; answer what is not known.

        Returns:
            For `Command.FINALIZE` call `flush`, for `Command.CLOSE` call `finish`.
        """
        self._record.received.append(text)
        if self._ear is None or self.is_closed:
            return None
        command = _COMMANDS.get(text.strip())
        if command is None and self._rules.refuse_text:
            self._refuse(Refused("Invalid message", "The message is not a known command."))
        return command

    def receive_ping(self, now: float) -> None:
        """Count a ping; it keeps no connection alive, unless the rules say so."""
        self._record.pings += 1
        if self._rules.pings_are_activity:
            self._active_at = now

    async def flush(self) -> None:
        """Say all words heard so far, then `flush_done`."""
        if await self._said_all() and self._rules.answer_finalize:
            self.emit([FlushDone()])

    async def finish(self) -> None:
        """Say all words, then `done`, and close."""
        if await self._said_all():
            self.emit([Done(), Close(1000)])

    def idle_deadline(self) -> float:
        """When the connection has been idle for too long."""
        return self._active_at + self._rules.idle_timeout

    def expire(self, now: float) -> None:
        """Close, if the connection has been idle for too long."""
        if now >= self.idle_deadline():
            self.emit([Close(_GOING_AWAY, "Idle timeout")])

    def abort(self) -> None:
        """Free everything: the connection is gone."""
        self.is_closed = True
        if self._ear is not None:
            self._ear.abort()

    def emit(
        self, messages: Sequence[Transcript | FlushDone | Done | ErrorMessage | Close]
    ) -> None:
        """Send messages in one segment; after a `Close` nothing is sent any more."""
        items: list[WireItem] = []
        for message in messages:
            if self.is_closed:
                break
            if isinstance(message, Close):
                self.is_closed = True
                items.append(message)
            else:
                items.append(self._text(message))
        self._record.sent.extend(item for item in items if not isinstance(item, Close))
        if items:
            self._send(items)

    async def _said_all(self) -> bool:
        """Have the engine say everything; False when there is nobody to tell."""
        if self._ear is None or self.is_closed:
            return False
        try:
            await self._ear.finalize()
        except Exception:
            self._fall()
        return not self.is_closed

    def _fall(self) -> None:
        logger.exception("connection %d: the engine failed", self._record.number)
        self.emit([_INTERNAL, Close(_INTERNAL_ERROR, "Internal Server Error")])

    def _refuse(self, refusal: Refused) -> None:
        """Answer a client error: `error`, then close 1008."""
        self._record.complaint = refusal.answer.message
        self.emit([refusal.answer, Close(_POLICY_VIOLATION, refusal.answer.title or "")])

    def _text(self, message: Transcript | FlushDone | Done | ErrorMessage) -> str:
        message = replace(message, request_id=self._record.request_id)
        if isinstance(message, ErrorMessage):
            return encode_error(message, self._version)
        text = encode(message)
        if self._rules.extra_fields:
            return json.dumps({**json.loads(text), "new_field": {"nested": [1, None]}})
        return text


def parse_manual_query(query: Query, rules: Rules) -> ManualRequest:
    """Read the query of an upgrade request; parameters that are not known are ignored.

    Raises:
        Refused: Something is missing or wrong.
    """
    pairs = list(query)
    given = dict(pairs)
    model = check_model(given, rules.manual_models)
    keyterms = tuple(value for name, value in pairs if name == "keyterm")
    check_keyterms(keyterms, rules)
    if "whisper" in model and keyterms:
        raise Refused("Invalid keyterm", f"{model} takes no keyterms.")
    return ManualRequest(
        model=model,
        format=parse_format(given),
        language=check_language(given.get("language"), model),
        keyterms=keyterms,
        max_silence=_max_silence(given.get("max_silence_duration_secs")),
    )


def check_language(language: str | None, model: str) -> str:
    """Read the language; English when none is given.

    Raises:
        Refused: It is no language code, or the model does not have it.
    """
    code = language or "en"
    if not (code.isascii() and code.isalpha() and 2 <= len(code) <= 3):
        raise Refused("Invalid language", "language must be an ISO 639-1 code, such as en.")
    if model == "ink-2" and code != "en":
        raise Refused("Invalid language", "ink-2 supports only en.")
    return code


def _max_silence(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise Refused("Invalid max silence", "max_silence_duration_secs must be a positive number.")
    return seconds
