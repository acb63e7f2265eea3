"""The models with which the agent of a session speaks now: its own, or those of the session."""

from __future__ import annotations

from typing import Any

from livekit.agents import AgentSession
from livekit.agents.utils import is_given


def llm_of(session: AgentSession[Any]) -> Any:
    """The LLM, or a realtime model; None if there is none."""
    return _model(session, "llm")


def tts_of(session: AgentSession[Any]) -> Any:
    """The TTS; None if there is none."""
    return _model(session, "tts")


def _model(session: AgentSession[Any], name: str) -> Any:
    try:
        own = getattr(session.current_agent, name)
    except RuntimeError:  # the session does not run
        return getattr(session, name)
    return own if is_given(own) else getattr(session, name)
