"""When faults strike and what they do to the time of things, without IO and without a clock.

`FaultPlan` belongs to a server, `ConnectionFaults` to a connection: it is told what point the
connection has reached and gives the actions that are due. `Lane` is one direction of a link and
says when bytes arrive. All chance comes from one seed: the same seed, the same story.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.fault_text import as_fault
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    Action,
    At,
    Deaf,
    Fault,
    Fin,
    HalfOpen,
    Join,
    Latency,
    NoPongs,
    Outage,
    Reset,
    Say,
    Silence,
    Slice,
    Throttle,
)


class FaultPlan:
    """All faults of a server, and how often each may still strike."""

    def __init__(self, faults: Sequence[Fault | str] = (), seed: int = 0) -> None:
        """Begin with no connection.

        Args:
            faults: What goes wrong, as `Fault` or in one line of text.
            seed: Of all chance.
        """
        self.random = random.Random(seed)
        self._left: dict[int, int | None] = {}
        self._faults: list[Fault] = []
        self._connections = itertools.count()
        self.add(*faults)

    def add(self, *faults: Fault | str) -> None:
        """Add faults; connections that are open have them, too.

        Raises:
            UsageError: One that is text cannot be read.
        """
        for fault in map(as_fault, faults):
            self._left[len(self._faults)] = fault.times
            self._faults.append(fault)

    def connection(self) -> ConnectionFaults:
        """The faults of the next connection."""
        return ConnectionFaults(self, next(self._connections))

    def faults(self) -> list[tuple[int, Fault]]:
        """The faults that may still strike, each with its number."""
        return [(number, self._faults[number]) for number, left in self._left.items() if left != 0]

    def spend(self, number: int) -> bool:
        """Take one time of a fault; tell whether there was one left."""
        left = self._left[number]
        if left is not None:
            self._left[number] = max(0, left - 1)
        return left != 0


class ConnectionFaults:
    """The faults of one connection.

    Attributes:
        number: Of the connection, from 0.
    """

    def __init__(self, plan: FaultPlan, number: int) -> None:
        """Begin before the upgrade."""
        self.number = number
        self._plan = plan
        self._counts: dict[str, int] = {}
        self._struck: set[int] = set()
        self._pending: list[tuple[float, int, Action]] = []
        self._order = itertools.count()

    def reach(self, point: str, now: float) -> None:
        """Note that a point has been reached once more, after what happens there."""
        self._counts[point] = count = self._counts.get(point, 0) + 1
        self._schedule(lambda at: at.point == point and not at.before and at.amount == count, now)
        if point == "upgrade":
            # Measured from here; their amount is a delay.
            for number, fault in self._mine(lambda at: at.point == "seconds"):
                self._strike(number, fault, now + fault.at.amount)

    def approach(self, point: str, now: float) -> None:
        """Note that a point is about to be reached: faults that strike before it are due."""
        count = self._counts.get(point, 0) + 1
        self._schedule(lambda at: at.point == point and at.before and at.amount == count, now)

    def measure(self, point: str, amount: float, now: float) -> None:
        """Note how much audio there has been, as `audio` in seconds or as `bytes`."""
        self._schedule(lambda at: at.point == point and amount >= at.amount, now)

    def limit(self, point: str) -> float:
        """The least amount at which a fault waits at `audio` or `bytes`."""
        amounts = [fault.at.amount for _, fault in self._mine(lambda at: at.point == point)]
        return min(amounts, default=FOREVER)

    def due(self, now: float) -> list[Action]:
        """The actions whose time has come, in the order of their times."""
        actions = []
        while self._pending and self._pending[0][0] <= now:
            actions.append(heapq.heappop(self._pending)[2])
        return actions

    @property
    def next_time(self) -> float | None:
        """When the next action is due; None when none is waiting."""
        return self._pending[0][0] if self._pending else None

    def _mine(self, matches: Callable[[At], bool]) -> list[tuple[int, Fault]]:
        """Faults that could strike on this connection at such a place, each at most once."""
        return [
            (number, fault)
            for number, fault in self._plan.faults()
            if fault.connection in (None, self.number)
            and number not in self._struck
            and matches(fault.at)
        ]

    def _schedule(self, matches: Callable[[At], bool], now: float) -> None:
        for number, fault in self._mine(matches):
            self._strike(number, fault, now)

    def _strike(self, number: int, fault: Fault, when: float) -> None:
        if self._plan.spend(number):
            self._struck.add(number)
            when += fault.at.delay + fault.at.spread * self._plan.random.random()
            heapq.heappush(self._pending, (when, next(self._order), fault.action))


@dataclass(slots=True)
class Lane:
    """One direction of a link: when do bytes arrive that are sent now? The order is kept.

    Attributes:
        latency: Seconds.
        jitter: Seconds at most on top of it, at random.
        rate: Bytes per second.
        blocked_until: Nothing arrives before.
        join: Bytes arrive at multiples of so many seconds.
    """

    random: random.Random
    latency: float = 0.0
    jitter: float = 0.0
    rate: float = FOREVER
    blocked_until: float = 0.0
    join: float = 0.0
    _free_at: float = 0.0
    _last: float = 0.0

    def due(self, now: float, size: int) -> float:
        """When `size` bytes that are sent now have arrived."""
        self._free_at = max(self._free_at, now) + size / self.rate
        when = self._free_at + self.latency
        if self.jitter:
            when += self.jitter * self.random.random()
        if self.join:
            when = (when // self.join + 1) * self.join
        self._last = max(when, self._last, self.blocked_until)
        return self._last


def random_faults(seed: int, *, seconds: float, count: int = 4, rough: bool = True) -> list[Fault]:
    """Draw a schedule of faults for a conversation: how chaos tests get theirs.

    Every fault of it passes: a client that does its best gets through.

    Args:
        seed: The same seed draws the same faults.
        seconds: How long the conversation is.
        count: How many faults.
        rough: Whether the server may also say what it must not say.
    """
    draw = random.Random(seed)
    return [Fault(_random_action(draw, rough), _random_place(draw, seconds)) for _ in range(count)]


_HARMLESS = ("malformed", "wrong-types", "no-transcript", "unknown-type", "binary", "not-object")


def _random_action(draw: random.Random, rough: bool) -> Action:
    choices: list[Callable[[], Action]] = [
        Reset,
        Reset,
        Fin,
        HalfOpen,
        NoPongs,
        lambda: Close(draw.choice([1001, 1005, 1006, 1011, 1012, 1013])),
        lambda: Silence(draw.choice([0.5, 2.0, FOREVER])),
        lambda: Deaf(draw.choice([0.5, 2.0, FOREVER])),
        lambda: Outage(draw.uniform(0.2, 8.0), draw.choice([0, -1, 500, 503, 429])),
        lambda: Latency(draw.uniform(0.01, 0.3), draw.uniform(0, 0.2)),
        lambda: Slice(draw.randint(1, 40)),
        lambda: Join(draw.uniform(0.05, 0.6)),
        lambda: Throttle(draw.uniform(40_000, 200_000)),
        lambda: Say(draw.choice(["fatal-500", "error-500", "error-503"])),
    ]
    if rough:
        choices += [lambda: Say(draw.choice(_HARMLESS))] * 2
    return draw.choice(choices)()


def _random_place(draw: random.Random, seconds: float) -> At:
    spread = draw.choice([0.0, 0.0, 0.3])
    match draw.randrange(4):
        case 0:
            return At("audio", draw.uniform(0, seconds), spread=spread)
        case 1:
            return At("seconds", draw.uniform(0, seconds), spread=spread)
        case 2:
            point = draw.choice(["connected", "turn.start", "turn.eager_end", "turn.end"])
            return At(point, draw.randint(1, 3), spread=spread, before=draw.random() < 0.4)
        case _:
            return At("turn.update", draw.randint(1, 8), spread=spread, before=draw.random() < 0.4)
