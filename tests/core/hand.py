"""A session played by hand: the test is the caller, the network and the server."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, TypeVar

from cartesia_ink_plugins.core.events import Connected, ErrorMessage, Event, TurnEvent
from cartesia_ink_plugins.core.options import Resilience, TurnsOptions
from cartesia_ink_plugins.core.stream.outbox import Action, Connect, Ping
from cartesia_ink_plugins.core.turns.session import TurnsSession
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.script import Script, Turn

CHUNK = 0.02
T = TypeVar("T")


class Hand:
    """A session with a clock that only the test moves."""

    def __init__(
        self, options: TurnsOptions | None = None, resilience: Resilience | None = None
    ) -> None:
        self.session = TurnsSession(
            options or TurnsOptions(), resilience or Resilience(), jitter=lambda: 0.5, epoch=1000.0
        )
        self.now = 0.0
        self.server_lives = True
        self.actions: list[Action] = []
        self.events: list[Event] = []

    # --- the network --------------------------------------------------------------------------

    def open(self) -> Hand:
        """Take up the attempt to connect, as a server that accepts."""
        self.session.connection_opened(self.now, "request")
        self.receives(Connected("request"))
        return self

    def receives(self, *messages: Connected | TurnEvent | ErrorMessage | str | bytes) -> None:
        """Let the server say something."""
        for message in messages:
            data = message if isinstance(message, str | bytes) else encode(message)
            self.session.message_received(data, self.now)
            self._settle()

    def close(self, code: int | None, reason: str = "closed") -> None:
        """Let the connection end."""
        self.session.connection_lost(reason, self.now, code)
        self._settle()

    # --- the caller ---------------------------------------------------------------------------

    def speak(self, pcm: bytes) -> None:
        """Say something, in real time."""
        size = self.session.sender.format.size(CHUNK)
        for at in range(0, len(pcm), size):
            self.wait(CHUNK)
            self.session.audio_received(pcm[at : at + size], self.now)
            self._settle()

    def silence(self, seconds: float) -> None:
        """Say nothing, with the microphone on."""
        self.speak(self.session.sender.format.silence(seconds))

    def wait(self, seconds: float) -> None:
        """Let time pass without audio."""
        end = self.now + seconds
        while self.session.next_timeout <= end:
            self.now = max(self.now, self.session.next_timeout)
            self.session.timeout(self.now)
            self._settle()
        self.now = end
        self.session.timeout(self.now)
        self._settle()

    def _settle(self) -> None:
        actions = taken(self.session.actions)
        self.actions += [action for action in actions if not isinstance(action, Ping)]
        self.events += taken(self.session.events)
        for action in actions:
            if self.server_lives and isinstance(action, Ping):
                self.session.pong_received(action.number, self.now)

    # --- what became of it --------------------------------------------------------------------

    def settle(self) -> Hand:
        """Look at what the session wants, after a call of one of its methods."""
        self._settle()
        return self

    @property
    def dials(self) -> int:
        """Attempts to connect so far."""
        return self.actions.count(Connect())

    @property
    def commands(self) -> list[Any]:
        """What the server was told as text."""
        return [json.loads(action) for action in self.actions if isinstance(action, str)]

    @property
    def audio(self) -> bytes:
        """What the server was sent as audio."""
        return b"".join(action for action in self.actions if isinstance(action, bytes))

    def forget(self) -> None:
        """Look only at what comes from here on."""
        self.actions.clear()
        self.events.clear()


def taken(queue: deque[T]) -> list[T]:
    """Empty one of a session's outputs, as a driver does."""
    items = list(queue)
    queue.clear()
    return items


def words(count: int = 3) -> bytes:
    """Sound that the speech clock takes for speech, with no silence around it."""
    text = " ".join(str(number) for number in range(count))
    return Script(Turn(text, after=0.0), lead_in=0.0).audio()


def started(options: TurnsOptions | None = None, resilience: Resilience | None = None) -> Hand:
    """A session that is dialling."""
    hand = Hand(options, resilience)
    hand.session.start(hand.now)
    return hand.settle()


def connected(options: TurnsOptions | None = None, resilience: Resilience | None = None) -> Hand:
    """A session that is connected, of which nothing was seen yet."""
    hand = started(options, resilience).open()
    hand.forget()
    return hand
