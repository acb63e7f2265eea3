"""Finds the session of an agent that an STT works for.

LiveKit gives an STT no reference to its session. But a session listens to the metrics of its STT,
and a `FallbackAdapter` to those of the STTs that it wraps.
"""

from __future__ import annotations

from typing import Any

from livekit.agents import AgentSession, stt

_EVENT = "metrics_collected"


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
