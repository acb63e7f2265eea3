"""The two outputs of a session: actions for the driver, events for the application.

Only the session's parts put something in, by `send` and `emit`; only the driver takes something
out, from the left. The queue of events is the one that the application reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection; answer with `connection_opened`, `_rejected` or `_lost`."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a WebSocket ping.

    Attributes:
        number: Its content: the pong tells by it which ping it answers.
    """

    number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Drop:
    """Abort the present connection or attempt at once; no answer is expected."""


Action: TypeAlias = Connect | Ping | Drop | bytes | str

E = TypeVar("E")


class Outbox(Generic[E]):
    """Owner of both queues.

    Attributes:
        actions: For the driver, in order. Bytes are audio, text is a command.
        events: For the application, in order.
        send: Puts an action at the end; bound once, because it is called for every frame.
    """

    __slots__ = ("_append", "actions", "events", "send")

    def __init__(self, append: Callable[[deque[E], E], None] = deque.append) -> None:
        """Begin empty.

        Args:
            append: Puts an event at the end of the queue; may merge it with unread ones.
        """
        self.actions: deque[Action] = deque()
        self.events: deque[E] = deque()
        self.send = self.actions.append
        self._append = append

    def emit(self, event: E) -> None:
        """Put an event at the end."""
        self._append(self.events, event)
