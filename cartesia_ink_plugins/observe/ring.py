"""The last seconds of a call, in memory, until something goes wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from cartesia_ink_plugins.core.events import ConnectFailed, Disconnected
from cartesia_ink_plugins.core.tap import (
    Moment,
    MomentKind,
    SentAudio,
    Speculation,
    SpeculationOutcome,
)

_IDLE_CLOSE = 1001  # close code of a connection that had no audio for minutes
# What a recording cannot be read without, however long ago it was.
_HEAD = frozenset({MomentKind.STARTED, MomentKind.OPENED, MomentKind.SETTINGS})


class Ring:
    """Keeps moments for some seconds, and tells when they are wanted."""

    def __init__(self, seconds: float) -> None:
        """Keep so many seconds."""
        self._seconds = seconds
        self._head: list[tuple[int, Moment]] = []
        self._items: deque[tuple[int, Moment]] = deque()
        self._interruptions: deque[float] = deque()

    def add(self, number: int, moment: Moment) -> list[tuple[int, Moment]] | None:
        """Keep a moment; return all that is kept once something has gone wrong."""
        if moment.kind is MomentKind.SENT and isinstance(moment.payload, SentAudio):
            # The same bytes were handed in: they are kept once.
            moment = replace(moment, payload=replace(moment.payload, data=b""))
        self._items.append((number, moment))
        while self._items[0][1].time < moment.time - self._seconds:
            number, former = self._items.popleft()
            if former.kind in _HEAD:
                self._head.append((number, former))
        return [*self._head, *self._items] if self._is_trouble(moment) else None

    def _is_trouble(self, moment: Moment) -> bool:
        match moment.payload:
            case Disconnected(retry_in=retry_in, code=code):
                return retry_in is not None and code != _IDLE_CLOSE
            case ConnectFailed():
                return True
            case Speculation(outcome=outcome):
                return outcome is not SpeculationOutcome.KEPT
        match moment.kind:
            case MomentKind.GAP | MomentKind.REJECTED:
                return True
            case MomentKind.INTERRUPTION:
                times = self._interruptions
                times.append(moment.time)
                while times[0] < moment.time - self._seconds:
                    times.popleft()
                return len(times) > 1
        return False
