"""What a stream sees of the session around it, and tells the taps of its client.

LiveKit gives an STT no reference to its session. But a session listens to the metrics of its STT,
and a `FallbackAdapter` to those of the STTs that it wraps.
"""

from __future__ import annotations

from typing import Any

from livekit.agents import AgentSession, stt

from cartesia_ink_plugins.livekit.agent_models import AgentModels
from cartesia_ink_plugins.livekit.call_reports import CallReports
from cartesia_ink_plugins.livekit.client_pool import Client, ClientPool
from cartesia_ink_plugins.livekit.preemptive_replies import PreemptiveReplies
from cartesia_ink_plugins.livekit.tracing import SessionTracing

_EVENT = "metrics_collected"


class SessionWatch:
    """Watches the session of an STT for one stream; nothing, where there is no session.

    Attributes:
        session: The session; None where there is none.
    """

    def __init__(self, recogniser: stt.STT[Any], client: Client, pool: ClientPool) -> None:
        """Begin to watch.

        Args:
            recogniser: Whose session it is.
            client: Whose taps are told.
            pool: Where the client comes from.
        """
        self.session = session = session_of(recogniser)
        self._client = client
        self._tracing: SessionTracing | None = None
        self._watchers: list[SessionTracing | AgentModels | PreemptiveReplies | CallReports] = []
        if session is not None:
            pool.in_session(session)
            self._tracing = SessionTracing(session)
            models = AgentModels(session)
            self._watchers = [
                self._tracing,
                models,
                PreemptiveReplies(session, models, client.report, pool.speculations),
                CallReports(session, models, client.report, audio=pool.records_audio),
            ]
        client.observers.tracing = self._tracing

    def close(self) -> None:
        """Watch nothing more."""
        for watcher in self._watchers:
            watcher.close()
        if self._client.observers.tracing is self._tracing:
            self._client.observers.tracing = None


def session_of(recogniser: stt.STT[Any]) -> AgentSession[Any] | None:
    """Return the session that listens to an STT; None when none does, or more than one."""
    sessions = _listening(recogniser, set())
    return sessions[0] if len(sessions) == 1 else None


def _listening(recogniser: stt.STT[Any], seen: set[int]) -> list[AgentSession[Any]]:
    if id(recogniser) in seen:
        return []
    seen.add(id(recogniser))
    found: list[AgentSession[Any]] = []
    # There is no public list of the listeners; without it, nothing is found.
    for callback in getattr(recogniser, "_events", {}).get(_EVENT, ()):
        listener = getattr(callback, "__self__", None)
        if isinstance(listener, stt.STT):
            sessions = _listening(listener, seen)
        else:
            session = getattr(listener, "session", None)
            sessions = [session] if isinstance(session, AgentSession) else []
        found += [session for session in sessions if session not in found]
    return found
