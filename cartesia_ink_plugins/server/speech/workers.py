"""The threads that recognise: what a reply waits for goes before what only an interim waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from cartesia_ink_plugins.server.speech.recognise import Answer, Kind


class Workers:
    """Two small pools: one for pauses, one for partials, which begin only when no pause waits.

    Attributes:
        helpers: A third, for parts of the work on a pause that can be done beside the others.
    """

    def __init__(self, threads: int) -> None:
        """Start no thread before there is work.

        Args:
            threads: How many pauses may be recognised at once; half as many partials, at least one.
        """
        self._pools = {
            Kind.PAUSE: ThreadPoolExecutor(threads, "ink-pause"),
            Kind.PARTIAL: ThreadPoolExecutor(max(1, threads // 2), "ink-partial"),
        }
        self.helpers = ThreadPoolExecutor(2 * threads, "ink-helper")
        self._calm = threading.Condition()
        self._pauses = 0
        self._shut = False

    def submit(self, kind: Kind, job: Callable[[], Answer | None]) -> Future[Answer | None]:
        """Have a job done; those of a kind in the order they came.

        After `shutdown` nothing is done any more: the future is a cancelled one.
        """
        with self._calm:
            if self._shut:
                cancelled: Future[Answer | None] = Future()
                cancelled.cancel()
                return cancelled
        if kind is Kind.PARTIAL:
            return self._pools[kind].submit(self._when_calm, job)
        with self._calm:
            self._pauses += 1
        future = self._pools[kind].submit(job)
        future.add_done_callback(self._pause_is_over)
        return future

    def shutdown(self) -> None:
        """Wait for what is being done; drop what has not begun."""
        with self._calm:
            self._shut = True
        for pool in (*self._pools.values(), self.helpers):
            pool.shutdown(wait=True, cancel_futures=True)

    def _when_calm(self, job: Callable[[], Answer | None]) -> Answer | None:
        with self._calm:
            self._calm.wait_for(lambda: self._pauses == 0)
        return job()

    def _pause_is_over(self, future: Future[Answer | None]) -> None:
        with self._calm:
            self._pauses -= 1
            self._calm.notify_all()
