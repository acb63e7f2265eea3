"""A clock that does not wait: an event loop jumps to its next timer when nothing else can happen.

    with VirtualClock(epoch=1_800_000_000.0):
        await asyncio.sleep(60.0)  # returns at once

All that runs in the loop has this clock: `loop.time()`, `time.monotonic()`, `time.perf_counter()`
and the wall clock. Other threads keep the machine's monotonic clock.

When a connection between two ends in the same loop has nothing to read at either end, nothing is
under way: the kernel delivers what is sent over loopback before `send` returns. For what happens
elsewhere the clock waits. It stands still while a job of `run_in_executor` runs, and goes at the
pace of the machine's clock while a connection to somewhere else is open.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self
from unittest import mock

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.log import LOGGER_NAME

logger = logging.getLogger(LOGGER_NAME)

# Seconds on the monotonic clock when it begins. The same in every replay, so that sums of seconds
# are rounded alike, and timers that are due at the same time come in the same order.
_START = 1000.0
# Seconds to wait for what was sent over loopback, where that takes another thread of the kernel.
_DELIVERY = 0.0 if sys.platform == "linux" else 0.001
_LONGEST_JOB = 5.0  # seconds that the clock stands still for a job; some jobs never end
_NANO = 1_000_000_000

_real_monotonic, _real_monotonic_ns = time.monotonic, time.monotonic_ns
_real_perf_counter, _real_perf_counter_ns = time.perf_counter, time.perf_counter_ns


class VirtualClock:
    """The clock of the running event loop, between entering and leaving it."""

    def __init__(self, *, epoch: float) -> None:
        """Change nothing yet.

        Args:
            epoch: Wall-clock time when it begins, in seconds since 1970.

        Raises:
            UsageError: The running loop is not one of asyncio's own, or a package is missing.
        """
        try:
            import time_machine
        except ModuleNotFoundError:
            raise UsageError("a virtual clock needs a package: pip install time-machine") from None
        running = asyncio.get_running_loop()
        if not isinstance(running, asyncio.SelectorEventLoop):
            kind = f"{type(running).__module__}.{type(running).__name__}"
            raise UsageError(f"a virtual clock needs asyncio.SelectorEventLoop, and this is {kind}")
        loop: Any = running
        self._loop = loop
        self._poll = loop._selector.select
        self._connect = loop.sock_connect
        self._run_in_executor = loop.run_in_executor
        self._travel = time_machine.travel(epoch, tick=False)
        self._wall: Any = None
        self._thread = threading.get_ident()
        self._now = _START
        self._readings = 0
        self._jobs: dict[asyncio.Future[Any], float] = {}
        self._outside: list[socket.socket] = []
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Begin; what the loop has to do at a time keeps its distance from now."""
        loop, enter = self._loop, self._undo.enter_context
        self._shift_timers(self._now - _real_monotonic())
        self._undo.callback(lambda: self._shift_timers(_real_monotonic() - self._now))
        self._wall = self._travel.start()
        self._undo.callback(self._travel.stop)
        for name, real, virtual in (
            ("monotonic", _real_monotonic, self._seconds),
            ("perf_counter", _real_perf_counter, self._seconds),
            ("monotonic_ns", _real_monotonic_ns, self._nanoseconds),
            ("perf_counter_ns", _real_perf_counter_ns, self._nanoseconds),
        ):
            enter(mock.patch.object(time, name, self._here(virtual, real)))
        enter(mock.patch.object(loop._selector, "select", self._select))
        enter(mock.patch.object(loop, "run_in_executor", self._job))
        enter(mock.patch.object(loop, "sock_connect", self._connecting))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the loop the machine's clock again."""
        self._undo.close()

    # --- what the clock shows -----------------------------------------------------------------

    def _here(self, virtual: Callable[[], Any], real: Callable[[], Any]) -> Callable[[], Any]:
        """Return a clock that is virtual in the thread of the loop only."""
        thread, get_ident = self._thread, threading.get_ident
        return lambda: virtual() if get_ident() == thread else real()

    def _seconds(self) -> float:
        return self._now

    def _nanoseconds(self) -> int:
        """Each reading is later than the last: such numbers are used to keep things in order."""
        self._readings += 1
        return round(self._now * _NANO) + self._readings

    def _advance(self, seconds: float) -> None:
        before, self._now = round(self._now * _NANO), self._now + seconds
        self._wall.shift((round(self._now * _NANO) - before) / _NANO)

    def _shift_timers(self, seconds: float) -> None:
        for handle in self._loop._scheduled:
            handle._when += seconds

    # --- when it jumps ------------------------------------------------------------------------

    def _select(self, timeout: float | None = None) -> list[Any]:
        """Return what is ready; where nothing is, and nothing can become so, jump to a timer."""
        if timeout is not None and timeout <= 0:
            return list(self._poll(0))
        if ready := self._poll(_DELIVERY):
            return list(ready)
        now = _real_monotonic()
        if (patience := max(self._jobs.values(), default=0.0) + _LONGEST_JOB - now) > 0:
            return list(self._poll(patience))
        self._outside = [sock for sock in self._outside if sock.fileno() >= 0]
        if timeout is None or self._outside:
            ready = self._poll(timeout)
            waited = _real_monotonic() - now
            self._advance(waited if ready or timeout is None else timeout)
            return list(ready)
        self._advance(timeout)
        return []

    def _job(self, executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        """As `run_in_executor`."""
        job = self._run_in_executor(executor, function, *args)
        self._jobs[job] = _real_monotonic()
        job.add_done_callback(lambda _: self._jobs.pop(job, None))
        return job

    async def _connecting(self, sock: socket.socket, address: Any) -> None:
        """As `sock_connect`."""
        if not self._listens(address):
            logger.info("virtual clock: %s is outside; time passes as it does there", address)
            self._outside.append(sock)
        await self._connect(sock, address)

    def _listens(self, address: Any) -> bool:
        """Whether an address is that of a server in this loop."""
        if not isinstance(address, tuple) or not ipaddress.ip_address(address[0]).is_loopback:
            return False
        return any(_listening_port(fd) == address[1] for fd in self._loop._selector.get_map())


def _listening_port(fd: int) -> int | None:
    """Return the port at which a descriptor listens; None if it does not."""
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return int(sock.getsockname()[1])
    except (OSError, IndexError, ValueError):
        pass  # no socket, or none of the Internet
    return None
