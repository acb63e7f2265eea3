"""A timer of the event loop for one time, and a wall clock that somebody may set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from cartesia_ink_plugins.core.net.clocks import DeadlineTimer, WallClock

NEVER = float("inf")


@dataclass
class Handle:
    """What the loop gives for a timer."""

    at: float
    reached: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class Loop:
    """An event loop whose timers the test lets run."""

    timers: list[Handle] = field(default_factory=list)

    def call_at(self, at: float, reached: Callable[[], None]) -> Handle:
        self.timers.append(Handle(at, reached))
        return self.timers[-1]

    @property
    def waiting(self) -> list[float]:
        return [timer.at for timer in self.timers if not timer.is_cancelled]


class TestDeadlineTimer:
    @staticmethod
    def made() -> tuple[DeadlineTimer, Loop, asyncio.AbstractEventLoop, list[str]]:
        called: list[str] = []
        loop = Loop()
        timer = DeadlineTimer(lambda: called.append("called"))
        return timer, loop, cast(asyncio.AbstractEventLoop, loop), called

    def test_waits_for_the_time_that_was_set_last(self) -> None:
        timer, loop, as_loop, called = self.made()
        assert timer.at == NEVER
        for at in (5.0, 3.0, 7.0):
            timer.set(at, as_loop)
            assert (timer.at, loop.waiting) == (at, [at])
        assert called == []

    def test_at_infinity_waits_for_nothing(self) -> None:
        timer, loop, as_loop, _ = self.made()
        timer.set(5.0, as_loop)
        timer.set(NEVER, as_loop)
        assert (timer.at, loop.waiting) == (NEVER, [])

    def test_calls_back_once_and_is_not_set_by_then(self) -> None:
        timer, loop, as_loop, called = self.made()
        timer.set(5.0, as_loop)
        loop.timers[0].reached()
        assert (called, timer.at) == (["called"], NEVER)
        timer.set(6.0, as_loop)
        assert not loop.timers[0].is_cancelled  # it is over, and no timer any more
        assert loop.timers[1].at == timer.at == 6.0


class TestWallClock:
    @pytest.fixture
    def set_time(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        return lambda seconds: monkeypatch.setattr(time, "time", lambda: seconds)

    @staticmethod
    def read_at_1000(set_time: Callable[[float], None]) -> WallClock:
        """Return a clock that was read at 1000 s, when the session's clock was at 30 s."""
        clock = WallClock()
        set_time(1000.0)
        clock.epoch(30.0)
        return clock

    def test_knows_the_time_at_which_the_session_was_at_zero(
        self, set_time: Callable[[float], None]
    ) -> None:
        set_time(1000.0)
        assert WallClock().epoch(30.0) == 970.0

    @pytest.mark.parametrize("step", [-3600.0, -0.2, 0.2, 3600.0])
    def test_tells_once_that_it_was_set(
        self, step: float, set_time: Callable[[float], None]
    ) -> None:
        clock = self.read_at_1000(set_time)
        set_time(1010.0 + step)
        assert clock.stepped(40.0) == pytest.approx(970.0 + step)
        assert clock.stepped(40.0) is None

    @pytest.mark.parametrize("step", [-0.05, 0.0, 0.05])
    def test_a_process_that_was_held_up_between_two_readings_set_nothing(
        self, step: float, set_time: Callable[[float], None]
    ) -> None:
        clock = self.read_at_1000(set_time)
        set_time(1010.0 + step)
        assert clock.stepped(40.0) is None
