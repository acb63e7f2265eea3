"""The thread in which OpenTelemetry is called.

An application may have configured a processor that exports each span when it ends, and an exporter
may raise, or hang. Neither is the matter of a conversation: what is told is put into a bounded
queue, and a thread takes it from there.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from cartesia_ink_plugins.core.log import LOGGER_NAME

MAX_PENDING = 1000  # a count; at one turn in 5 s, the turns of 100 calls in 50 s
_EXIT_TIMEOUT = 1.0  # seconds that the end of the process waits for what is pending

Task: TypeAlias = Callable[[], None]


class TelemetryWorker:
    """Does one task after the other, beside the conversation.

    Attributes:
        dropped: How many tasks were dropped, because an exporter holds up those before them.
    """

    def __init__(self, max_pending: int = MAX_PENDING) -> None:
        """Begin without a thread; the first task starts it.

        Args:
            max_pending: How many tasks wait at most.
        """
        self.dropped = 0
        self._tasks: queue.Queue[tuple[contextvars.Context, Task]] = queue.Queue(max_pending)
        self._log = logging.getLogger(LOGGER_NAME)
        self._thread: threading.Thread | None = None

    def do(self, task: Task) -> None:
        """Have a task done soon, in the context of the caller; never waits and never raises."""
        try:
            self._tasks.put_nowait((contextvars.copy_context(), task))
        except queue.Full:
            self.dropped += 1
            if self.dropped == 1:
                self._log.warning("an OpenTelemetry exporter hangs: telemetry is dropped")
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ink_telemetry", daemon=True)
            self._thread.start()
            atexit.register(self.flush, _EXIT_TIMEOUT)

    def flush(self, timeout: float) -> bool:
        """Wait until everything is done that waits now.

        Args:
            timeout: Seconds after which it returns in any case.

        Returns:
            Whether it is done.
        """
        if self._thread is None:
            return True
        done, until = threading.Event(), time.monotonic() + timeout
        try:
            self._tasks.put((contextvars.Context(), done.set), timeout=max(timeout, 0.0))
        except queue.Full:
            return False
        return done.wait(until - time.monotonic())

    def _run(self) -> None:
        while True:
            context, task = self._tasks.get()
            try:
                context.run(task)
            except Exception:
                self._log.exception("OpenTelemetry failed")
