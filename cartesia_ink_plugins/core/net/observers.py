"""Who observes the sessions of a client, and what observers are told first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cartesia_ink_plugins.core.log import SessionLog
from cartesia_ink_plugins.core.net.log_tap import LogTap
from cartesia_ink_plugins.core.options import ConnectionOptions
from cartesia_ink_plugins.core.stats import Snapshot
from cartesia_ink_plugins.core.tap import SessionStart, Tap, Tracing
from cartesia_ink_plugins.observe.call import CallMember, environment_taps
from cartesia_ink_plugins.observe.stats import StatsTap


class Observers:
    """The taps of a client: the log, its statistics, the application's, the environment's.

    Attributes:
        stats: Counts what happens in all sessions of the client.
        call: What the client is a part of.
        tracing: How the framework around the client traces; set by its adapter.
    """

    def __init__(self, taps: Iterable[Tap], call: CallMember) -> None:
        """Observe also with the application's taps, and those of the call."""
        self.stats = StatsTap()
        self.call = call
        self.tracing: Tracing | None = None
        self._taps = tuple(taps)

    def taps(self, session_id: str) -> list[Tap]:
        """Return the taps of a new session, in the order in which they are called."""
        log = LogTap(SessionLog(session_id))
        return [log, self.stats, *self._taps, *self.call.taps, *environment_taps()]

    def start(
        self,
        session_id: str,
        options: ConnectionOptions,
        epoch: float,
        snapshot: Callable[[], Snapshot],
    ) -> SessionStart:
        """Return what a session begins with; see `SessionStart` for the arguments."""
        return SessionStart(session_id, options, epoch, snapshot, lambda: self.tracing)
