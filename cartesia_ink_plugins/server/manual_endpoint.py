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
from cartesia_ink_plugins.server.endpoint import EndpointConnection, Send
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.manual_engine import (
    ManualEngine,
    ManualRecognitionStream,
    ManualRequest,
)
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.validate import (
    Command,
    Query,
    RequestRejectedError,
    check_keyterms,
    check_model,
    parse_format,
)

_COMMANDS = {"finalize": Command.FINALIZE, "close": Command.CLOSE, "done": Command.CLOSE}


class ManualConnection(EndpointConnection):
    """One connection to the manual endpoint."""

    _stream: ManualRecognitionStream | None

    def __init__(
        self, record: ConnectionRecord, engine: ManualEngine, rules: Rules, version: str, send: Send
    ) -> None:
        """Create the connection on `engine`; see `EndpointConnection`."""
        super().__init__(record, rules, version, send)
        self._engine = engine

    def _open(self) -> None:
        """Open a recognition stream; nothing is sent."""
        request = parse_manual_query(self._record.query, self._rules)
        self._format = request.format
        self._stream = self._engine.open_manual(request, self.send)

    def _command(self, text: str) -> Command | None:
        command = _COMMANDS.get(text.strip())
        if command is None and self._rules.reject_text:
            self.reject(
                RequestRejectedError("Invalid message", "The message is not a known command.")
            )
        return command

    async def flush(self) -> None:
        """Send the text of all audio received, then `flush_done`."""
        if await self._finalize() and self._rules.answer_finalize:
            self.send([FlushDone()])

    async def finish(self) -> None:
        """Send the text of all audio received, then `done`, and close with 1000."""
        if await self._finalize():
            self.send([Done(), Close(1000)])

    async def _finalize(self) -> bool:
        """Finalize the recognition stream; return whether the connection is still open."""
        if self._stream is None or self.is_closed:
            return False
        try:
            await self._stream.finalize()
        except Exception:
            self.engine_failed()
        return not self.is_closed


def parse_manual_query(query: Query, rules: Rules) -> ManualRequest:
    """Parse the query of an upgrade request; unknown parameters are ignored.

    Raises:
        RequestRejectedError: A parameter is missing or invalid.
    """
    pairs = list(query)
    given = dict(pairs)
    model = check_model(given, rules.manual_models)
    keyterms = tuple(value for name, value in pairs if name == "keyterm")
    check_keyterms(keyterms, rules)
    if "whisper" in model and keyterms:
        raise RequestRejectedError("Invalid keyterm", f"{model} takes no keyterms.")
    return ManualRequest(
        model=model,
        format=parse_format(given),
        language=language_code(given.get("language"), model),
        keyterms=keyterms,
        max_silence=_max_silence(given),
    )


def language_code(language: str | None, model: str) -> str:
    """Parse the language code; the default is English.

    Raises:
        RequestRejectedError: It is not a language code, or the model does not support it.
    """
    code = language or "en"
    if not (code.isascii() and code.isalpha() and 2 <= len(code) <= 3):
        raise RequestRejectedError(
            "Invalid language", "language must be an ISO 639-1 code, such as en."
        )
    if model == "ink-2" and code != "en":
        raise RequestRejectedError("Invalid language", "ink-2 supports only en.")
    return code


def _max_silence(given: Mapping[str, str]) -> float | None:
    """Parse the parameters that only ink-whisper has; `min_volume` is checked, but not used."""
    loudness = _number(given.get("min_volume"))
    if loudness is not None and not 0 <= loudness <= 1:
        raise RequestRejectedError("Invalid min volume", "min_volume must be a number from 0 to 1.")
    seconds = _number(given.get("max_silence_duration_secs"))
    if seconds is not None and not 0 < seconds < 3600:
        raise RequestRejectedError(
            "Invalid max silence", "max_silence_duration_secs must be a positive number."
        )
    return seconds


def _number(text: str | None) -> float | None:
    """Parse a number; NaN, which is in no range, if it is none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return math.nan
