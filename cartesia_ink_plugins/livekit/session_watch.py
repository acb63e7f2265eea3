"""What a stream sees of the session around it, and tells the taps of its client."""

from __future__ import annotations

from typing import Any

from livekit.agents import stt

from cartesia_ink_plugins.livekit.agent_session import session_of
from cartesia_ink_plugins.livekit.client_pool import Client
from cartesia_ink_plugins.livekit.preemptive_replies import PreemptiveReplies
from cartesia_ink_plugins.livekit.tracing import SessionTracing


class SessionWatch:
    """Watches the session of an STT for one stream; nothing, where there is no session."""

    def __init__(self, recogniser: stt.STT[Any], client: Client) -> None:
        """Begin to watch.

        Args:
            recogniser: Whose session it is.
            client: Whose taps are told.
        """
        session = session_of(recogniser)
        self._client = client
        self._tracing = SessionTracing(session) if session else None
        self._replies = PreemptiveReplies(session, client.report) if session else None
        client.observers.tracing = self._tracing

    def close(self) -> None:
        """Watch nothing more."""
        if self._replies is not None:
            self._replies.close()
        if self._tracing is not None:
            self._tracing.close()
        if self._client.observers.tracing is self._tracing:
            self._client.observers.tracing = None
