"""What stands behind the server: an engine that opens one ear for each connection.

An ear gets the audio of one connection and says what it heard through `emit`. The script engine
knows beforehand what is said; the speech engine recognises it. The server knows neither: it checks
who calls, decodes the protocol and carries the messages.

Everything here is called on one thread, the event loop's. `Ear.hear` never blocks and is no
coroutine, so that a script can also be heard in virtual time, without any event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, TypedDict

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Connected, ErrorMessage, TurnEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnThresholds:
    """The thresholds a connection is served with; the defaults are those of the API.

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
        """Lay changes over these thresholds; nothing is checked."""
        return replace(self, **changes)


class TurnThresholdChanges(TypedDict, total=False):
    """Some of the thresholds."""

    start: float
    eager_end: float
    end: float
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Raw:
    """Something that is sent unchecked: how a test sends what the protocol forbids.

    Attributes:
        data: Text becomes a text frame and bytes become a binary frame as they are; a message gets
            its request_id, but nobody asks whether it may come now.
    """

    data: str | bytes | Connected | TurnEvent | ErrorMessage


@dataclass(frozen=True, slots=True)
class Close:
    """The connection is closed by the server after what came before it.

    Attributes:
        code: WebSocket close code; 1006 drops the connection without a close frame.
        reason: Goes with the code.
    """

    code: int = 1000
    reason: str = ""


Outgoing: TypeAlias = Connected | TurnEvent | ErrorMessage | Raw | Close
Emit: TypeAlias = Callable[[Sequence[Outgoing]], None]
"""One call is one TCP segment. Called on the event loop's thread; never blocks, never raises.

Messages carry no request_id: the server fills in the connection's.
"""


class Ear(Protocol):
    """Hears one connection."""

    def hear(self, pcm: bytes) -> None:
        """Take the next audio bytes, in the connection's format; any length, never blocks."""

    def configure(self, settings: TurnThresholds) -> None:
        """Go on with other thresholds; they are complete and have been validated."""

    async def close(self) -> None:
        """Flush: settle what was heard and end an open turn; all is emitted on return."""

    def abort(self) -> None:
        """Free everything and emit nothing more: the connection is gone."""


class Engine(Protocol):
    """Hears connections."""

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> Ear:
        """Open an ear for a connection.

        Args:
            format: The audio that will come.
            thresholds: Complete and validated.
            emit: Where messages go.
            keyterms: Words to expect.
        """

    async def aclose(self) -> None:
        """Free what the engine holds, when the server stops; idempotent."""
