"""One connection to `/stt/websocket`, without IO.

    start ─▶ audio … transcripts (deltas)
               ├─ finalize ─▶ transcripts ─▶ flush_done
               └─ close ─▶ transcripts ─▶ done ─▶ close 1000

Commands are bare text, not JSON. There is no `connected`.

https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from cartesia_ink_plugins.core.events import Done, FlushDone
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.exchange import Exchange, Send
from cartesia_ink_plugins.server.manual_engine import ManualEar, ManualEngine, ManualRequest
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.validate import (
    Command,
    Query,
    Refused,
    check_model,
    parse_format,
    validated_keyterms,
)

_COMMANDS = {"finalize": Command.FINALIZE, "close": Command.CLOSE, "done": Command.CLOSE}


class ManualConnection:
    """What the server knows and says on one connection.

    Attributes:
        exchange: What is the same on every endpoint: idleness, and the way out.
    """

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
        self.exchange = Exchange(record, rules, version, send)
        self._record = record
        self._engine = engine
        self._rules = rules
        self._request: ManualRequest | None = None
        self._ear: ManualEar | None = None

    def start(self, now: float) -> None:
        """Check the settings; say nothing, unless they are wrong."""
        self.exchange.begin(now)
        try:
            request = parse_manual_query(self._record.query, self._rules)
        except Refused as refusal:
            self.exchange.refuse(refusal)
            return
        self._request = request
        self._ear = self._engine.open_manual(request, self.exchange.emit)

    def receive_audio(self, data: bytes, now: float) -> None:
        """Let the engine hear what came."""
        if self._request is None or self._ear is None or self.exchange.is_closed:
            return
        if pcm := self.exchange.audio(data, self._request.format, now):
            try:
                self._ear.hear(pcm)
            except Exception:
                self.exchange.fall()

    def receive_text(self, text: str) -> Command | None:
        """Read a command; answer what is not known.

        Returns:
            For `Command.FINALIZE` call `flush`, for `Command.CLOSE` call `finish`.
        """
        if self._ear is None or self.exchange.is_closed:
            return None
        self._record.add_received(text)
        command = _COMMANDS.get(text.strip())
        if command is None and self._rules.refuse_text:
            unknown = Refused("Invalid message", "The message is not a known command.")
            self.exchange.refuse(unknown)
        return command

    async def flush(self) -> None:
        """Say all words heard so far, then `flush_done`."""
        if await self._said_all() and self._rules.answer_finalize:
            self.exchange.emit([FlushDone()])

    async def finish(self) -> None:
        """Say all words, then `done`, and close."""
        if await self._said_all():
            self.exchange.emit([Done(), Close(1000)])

    def abort(self) -> None:
        """Free everything: the connection is gone."""
        self.exchange.is_closed = True
        if self._ear is not None:
            self._ear.abort()

    async def _said_all(self) -> bool:
        """Have the engine say everything; False when there is nobody to tell."""
        if self._ear is None or self.exchange.is_closed:
            return False
        try:
            await self._ear.finalize()
        except Exception:
            self.exchange.fall()
        return not self.exchange.is_closed


def parse_manual_query(query: Query, rules: Rules) -> ManualRequest:
    """Read the query of an upgrade request; parameters that are not known are ignored.

    Raises:
        Refused: Something is missing or wrong.
    """
    pairs = list(query)
    given = dict(pairs)
    model = check_model(given, rules.manual_models)
    keyterms = tuple(value for name, value in pairs if name == "keyterm")
    validated_keyterms(keyterms, rules)
    if "whisper" in model and keyterms:
        raise Refused("Invalid keyterm", f"{model} takes no keyterms.")
    return ManualRequest(
        model=model,
        format=parse_format(given),
        language=language_code(given.get("language"), model),
        keyterms=keyterms,
        max_silence=_max_silence(given),
    )


def language_code(language: str | None, model: str) -> str:
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


def _max_silence(given: Mapping[str, str]) -> float | None:
    """Read what only whisper has; the loudness is checked, and then left to the engine's own."""
    loudness = _number(given.get("min_volume"))
    if loudness is not None and not 0 <= loudness <= 1:
        raise Refused("Invalid min volume", "min_volume must be a number from 0 to 1.")
    seconds = _number(given.get("max_silence_duration_secs"))
    if seconds is not None and not 0 < seconds < 3600:
        raise Refused("Invalid max silence", "max_silence_duration_secs must be a positive number.")
    return seconds


def _number(text: str | None) -> float | None:
    """Read a number; one that is none is no number in any range."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return math.nan
