"""The interface of an engine, which opens one recognition stream for each connection.

A recognition stream takes the audio of one connection and emits messages. The script engine knows
beforehand what is said; the speech engine recognizes it. The server checks credentials, decodes the
protocol and sends the messages.

All methods are called on the event loop's thread. `RecognitionStream.receive_audio` never blocks
and is no coroutine, so that a script also runs in virtual time without an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, TypedDict

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Connected, ErrorMessage, TurnEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnThresholds:
    """The thresholds of a connection; the defaults are those of the API.

    Defaults and meaning: https://docs.cartesia.ai/use-the-api/stt/turns/turns

    Attributes:
        start: A turn starts when the likelihood, 0 to 1, that the user is in a turn rises above it.
        eager_end: The turn may be over when the likelihood falls below it.
        end: The turn is over when the likelihood falls below it. start > eager_end > end.
        timeout_ms: Ends a turn whatever the likelihood; milliseconds of silence.
    """

    start: float = 0.8
    eager_end: float = 0.6
    end: float = 0.3
    timeout_ms: int = 5600

    def updated(self, changes: TurnThresholdChanges) -> TurnThresholds:
        """Return these thresholds with some changed; nothing is checked."""
        return replace(self, **changes)


class TurnThresholdChanges(TypedDict, total=False):
    """Some of the thresholds."""

    start: float
    eager_end: float
    end: float
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Raw:
    """Data that is sent unchecked, so that a test can break the protocol.

    Attributes:
        data: Text becomes a text frame and bytes a binary frame, unchanged; a message gets its
            request_id, but its order is not checked.
    """

    data: str | bytes | Connected | TurnEvent | ErrorMessage


@dataclass(frozen=True, slots=True)
class Close:
    """The server closes the connection after the messages before it.

    Attributes:
        code: WebSocket close code; 1006 drops the connection without a close frame.
        reason: Reason in the close frame.
    """

    code: int = 1000
    reason: str = ""


Outgoing: TypeAlias = Connected | TurnEvent | ErrorMessage | Raw | Close
Emit: TypeAlias = Callable[[Sequence[Outgoing]], None]
"""Sends messages in one TCP segment, on the event loop's thread; never blocks or raises.

The server adds the connection's request_id.
"""


class RecognitionStream(Protocol):
    """Recognizes the audio of one connection to the turns endpoint."""

    def receive_audio(self, pcm: bytes) -> None:
        """Process audio in the connection's format, of any length; never blocks."""

    def configure(self, settings: TurnThresholds) -> None:
        """Change the thresholds; they are complete and valid."""

    async def close(self) -> None:
        """End an open turn; everything has been emitted on return."""

    def abort(self) -> None:
        """Free everything and emit nothing more: the connection is lost."""


class Engine(Protocol):
    """Opens recognition streams."""

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> RecognitionStream:
        """Open a recognition stream for a connection.

        Args:
            format: Format of the audio.
            thresholds: Complete and valid thresholds.
            emit: Sends messages.
            keyterms: Words to expect.
        """

    async def aclose(self) -> None:
        """Free the engine's resources when the server stops; idempotent."""
