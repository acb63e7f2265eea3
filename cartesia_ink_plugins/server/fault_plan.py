"""When faults are injected, and a simulated link, without IO and without a clock.

`FaultPlan` belongs to a server, `ConnectionFaults` to a connection: it is told which points the
connection reaches and returns the actions that are due. `OneWayLink` computes when bytes arrive.
One seed decides everything random: the same seed gives the same faults.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cartesia_ink_plugins.server.fault_text import as_fault
from cartesia_ink_plugins.server.faults import FOREVER, Action, At, Fault


class FaultPlan:
    """All faults of a server, and how many times each may still be injected."""

    def __init__(self, faults: Sequence[Fault | str] = (), seed: int = 0) -> None:
        """Create the plan, with no connection.

        Args:
            faults: The faults, as `Fault` or as one line of text.
            seed: Seed of everything random.
        """
        self.random = random.Random(seed)
        self._left: dict[int, int | None] = {}
        self._faults: list[Fault] = []
        self._connections = itertools.count()
        self.add(*faults)

    def add(self, *faults: Fault | str) -> None:
        """Add faults; open connections have them, too.

        Raises:
            UsageError: A fault cannot be parsed.
        """
        for fault in map(as_fault, faults):
            self._left[len(self._faults)] = fault.times
            self._faults.append(fault)

    def connection(self) -> ConnectionFaults:
        """Return the faults of the next connection."""
        return ConnectionFaults(self, next(self._connections))

    def faults(self) -> list[tuple[int, Fault]]:
        """Return the faults that may still be injected, each with its number."""
        return [(number, self._faults[number]) for number, left in self._left.items() if left != 0]

    def consume(self, number: int) -> bool:
        """Count one injection of a fault; return whether one was left."""
        left = self._left[number]
        if left is not None:
            self._left[number] = max(0, left - 1)
        return left != 0


class ConnectionFaults:
    """The faults of one connection.

    Attributes:
        number: Number of the connection, from 0.
    """

    def __init__(self, plan: FaultPlan, number: int) -> None:
        """Create the faults before the upgrade."""
        self.number = number
        self._plan = plan
        self._counts: dict[str, int] = {}
        self._injected: set[int] = set()
        self._pending: list[tuple[float, int, Action]] = []
        self._order = itertools.count()

    def reach(self, point: str, now: float) -> None:
        """Report that the connection has passed a point once more."""
        self._counts[point] = count = self._counts.get(point, 0) + 1
        self._schedule(lambda at: at.point == point and not at.before and at.amount == count, now)
        if point == "upgrade":
            # Measured from the upgrade: the amount is a delay.
            for number, fault in self._matching(lambda at: at.point == "seconds"):
                self._inject(number, fault, now + fault.at.amount)

    def approach(self, point: str, now: float) -> None:
        """Report that the connection is about to pass a point, for faults with `before`."""
        count = self._counts.get(point, 0) + 1
        self._schedule(lambda at: at.point == point and at.before and at.amount == count, now)

    def measure(self, point: str, amount: float, now: float) -> None:
        """Report the audio received so far: `audio` in seconds, or `bytes`."""
        self._schedule(lambda at: at.point == point and amount >= at.amount, now)

    def limit(self, point: str) -> float:
        """Return the smallest amount of a pending fault at `audio` or `bytes`."""
        amounts = [fault.at.amount for _, fault in self._matching(lambda at: at.point == point)]
        return min(amounts, default=FOREVER)

    def due(self, now: float) -> list[Action]:
        """Return the actions that are due, in the order of their times."""
        actions = []
        while self._pending and self._pending[0][0] <= now:
            actions.append(heapq.heappop(self._pending)[2])
        return actions

    @property
    def next_time(self) -> float | None:
        """When the next action is due; None if none is pending."""
        return self._pending[0][0] if self._pending else None

    def _matching(self, matches: Callable[[At], bool]) -> list[tuple[int, Fault]]:
        """Return the faults of this connection at such a place that were not injected on it."""
        return [
            (number, fault)
            for number, fault in self._plan.faults()
            if fault.connection in (None, self.number)
            and number not in self._injected
            and matches(fault.at)
        ]

    def _schedule(self, matches: Callable[[At], bool], now: float) -> None:
        for number, fault in self._matching(matches):
            self._inject(number, fault, now)

    def _inject(self, number: int, fault: Fault, when: float) -> None:
        if self._plan.consume(number):
            self._injected.add(number)
            when += fault.at.delay + fault.at.spread * self._plan.random.random()
            heapq.heappush(self._pending, (when, next(self._order), fault.action))


@dataclass(slots=True)
class OneWayLink:
    """One direction of a simulated link; it keeps the order of the bytes.

    Attributes:
        latency: Seconds.
        jitter: Most random seconds added to the latency.
        rate: Bytes per second.
        blocked_until: Time before which nothing arrives.
        join: Bytes arrive at multiples of this, in seconds; 0 is off.
    """

    random: random.Random
    latency: float = 0.0
    jitter: float = 0.0
    rate: float = FOREVER
    blocked_until: float = 0.0
    join: float = 0.0
    _free_at: float = 0.0
    _last: float = 0.0

    def arrival(self, now: float, size: int) -> float:
        """Return when `size` bytes sent now arrive."""
        self._free_at = max(self._free_at, now) + size / self.rate
        when = self._free_at + self.latency
        if self.jitter:
            when += self.jitter * self.random.random()
        if self.join:
            when = (when // self.join + 1) * self.join
        self._last = max(when, self._last, self.blocked_until)
        return self._last
