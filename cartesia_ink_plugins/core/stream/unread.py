"""Bounds the events that an application has not read."""

from __future__ import annotations

from collections import deque
from typing import Any

from cartesia_ink_plugins.core.events import EventsDropped, TurnEnd, TurnStart

MAX_UNREAD = 1000
"""Events: minutes of a conversation that nobody reads."""

_ROOM = MAX_UNREAD // 10  # events; made at once, so that not every event costs a search


def bound(queue: deque[Any]) -> None:
    """Drop the oldest events of a queue that is too long, and say so in its first event.

    Turns are dropped whole. Of a turn whose beginning was read already, the end is kept.
    """
    if len(queue) <= MAX_UNREAD:
        return
    events = list(queue)
    count = events.pop(0).count if isinstance(events[0], EventsDropped) else 0
    cut = _cut(events)
    dropped, rest = events[:cut], events[cut:]
    first = next((e for e in dropped if isinstance(e, TurnStart | TurnEnd)), None)
    kept = [first] if isinstance(first, TurnEnd) else []
    if cut and isinstance(dropped[0], TurnStart) and not isinstance(rest[0], TurnStart):
        kept = dropped[:1]  # the turn is still open
    queue.clear()
    queue.append(EventsDropped(count + len(dropped) - len(kept)))
    queue.extend(kept)
    queue.extend(rest)


def _cut(events: list[Any]) -> int:
    """Return how many of the oldest events make room, without cutting a turn if possible."""
    starts = [number for number, event in enumerate(events) if isinstance(event, TurnStart)]
    later = [number for number in starts if number >= _ROOM]
    return later[0] if later else (starts and starts[-1]) or _ROOM
