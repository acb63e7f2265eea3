"""The recorder: taps of one call, and the thread that writes what they see.

The event loop only appends to a bounded queue. A disk that is too slow costs moments, which are
counted in the recording; a full disk ends the recording. Neither costs the call anything. In a
replay on a virtual clock the disk is waited for.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from pathlib import Path
from typing import ClassVar

from cartesia_ink_plugins.core.log import LOGGER_NAME, one_line
from cartesia_ink_plugins.core.tap import Moment
from cartesia_ink_plugins.observe.options import RecordOptions
from cartesia_ink_plugins.observe.writer import CallWriter, Item

logger = logging.getLogger(LOGGER_NAME)

_MOST = 8192  # moments that wait to be written: over 30 s of a call
_INTERVAL = 0.25  # seconds between two writes
_EXIT_TIMEOUT = 5.0  # seconds that the end of the process waits for a recording to be completed


class Recorder:
    """Records one call, over all its clients.

    Attributes:
        options: What is recorded, and where.
        patience: Seconds that `add` waits for the disk before it drops moments: none in a call,
            which must not wait. A replay whose clock stands still meanwhile loses nothing.
    """

    patience: ClassVar[float] = 0.0

    def __init__(self, options: RecordOptions) -> None:
        """Record nothing before the first client begins."""
        self.options = options
        self._writer = CallWriter(options)
        self._queue: deque[Item] = deque()
        self._dropped = 0
        self._clients = 0
        self._is_closed = False
        self._wake = threading.Event()
        self._room = threading.Event()
        self._thread: threading.Thread | None = None
        self._path: Path | None = None

    @property
    def path(self) -> Path | None:
        """Where the recording is, once it was begun."""
        return self._path

    def tap(self) -> RecorderTap:
        """Return the tap of one more client of the call."""
        self._clients += 1
        return RecorderTap(self, self._clients)

    def add(self, number: int, moment: Moment) -> None:
        """Take a moment of a client; returns at once, but for `patience`."""
        if self._is_closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ink-recorder", daemon=True)
            self._thread.start()
            atexit.register(self.close, _EXIT_TIMEOUT)
        if len(self._queue) >= _MOST and not self._gets_room():
            self._dropped += 1
        else:
            self._queue.append((number, moment))

    def close(self, timeout: float = 0.0) -> None:
        """End the recording; may be called again.

        Args:
            timeout: Seconds to wait until the file is complete.
        """
        self._is_closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _gets_room(self) -> bool:
        if self.patience:
            self._room.clear()
            self._wake.set()
            if not self._is_closed:
                self._room.wait(self.patience)
        return len(self._queue) < _MOST

    # --- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            reason = self._write_until_end()
            self._writer.close(reason)
        except Exception as error:
            # A full disk, above all. What was written stays readable.
            self._is_closed = True
            logger.warning("recording ended: %s", one_line(error))
            self._writer.abandon()
        self._queue.clear()
        self._room.set()
        atexit.unregister(self.close)

    def _write_until_end(self) -> str:
        while not self._is_closed:
            self._wake.wait(_INTERVAL)
            self._wake.clear()
            self._write()
            if self._writer.is_full:
                self._is_closed = True
                logger.warning("recording ended: it has the largest size (max_megabytes)")
                return "largest size"
        self._write()
        return "call ended"

    def _write(self) -> None:
        queue = self._queue
        items = [queue.popleft() for _ in range(len(queue))]
        self._room.set()
        dropped, self._dropped = self._dropped, 0
        if items or dropped:
            self._writer.write(items, dropped)
        self._path = self._writer.path


class RecorderTap:
    """The tap of one client."""

    def __init__(self, recorder: Recorder, number: int) -> None:
        """Tell the recorder of it, under a number."""
        self._recorder = recorder
        self._number = number

    def on(self, moment: Moment) -> None:
        """Pass a moment on."""
        self._recorder.add(self._number, moment)
