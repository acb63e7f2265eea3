"""How LiveKit traces: with its own tracer, and a span `user_turn` for every turn of the user."""

from __future__ import annotations

from typing import Any, Literal

from livekit.agents import AgentSession, UserStateChangedEvent, get_job_context
from livekit.agents.telemetry import tracer as livekit_tracer
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Tracer

_STATE_CHANGED: Literal["user_state_changed"] = "user_state_changed"


class SessionTracing:
    """The tracing of one session, as telemetry asks for it."""

    def __init__(self, session: AgentSession[Any]) -> None:
        """Follow the user's turns."""
        self._session = session
        self._turn: Context | None = None
        session.on(_STATE_CHANGED, self._state_changed)

    def close(self) -> None:
        """Follow nothing more."""
        self._session.off(_STATE_CHANGED, self._state_changed)

    def turn_context(self) -> Context | None:
        """Return the context of the span `user_turn`; None when the session is in no turn."""
        return self._turn

    def tracer(self) -> Tracer | None:
        """Return LiveKit's tracer, which an application may have given a provider of its own.

        None outside of turns, and where the session's turns are not traced.
        """
        return livekit_tracer if self._turn is not None else None

    def attributes(self) -> dict[str, str]:
        """Return the ids of the job and of the agent, under LiveKit's names."""
        job = get_job_context(required=False)
        try:
            agent = self._session.current_agent.id
        except RuntimeError:
            agent = ""
        values = {"lk.job_id": job.job.id if job else "", "lk.agent_label": agent}
        return {name: value for name, value in values.items() if value}

    def _state_changed(self, event: UserStateChangedEvent) -> None:
        # The session tells that the user begins to speak while `user_turn` is the current span.
        is_speaking = event.new_state == "speaking"
        is_traced = trace.get_current_span().get_span_context().is_valid
        self._turn = otel_context.get_current() if is_speaking and is_traced else None
