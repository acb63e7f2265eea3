"""The models with which the agent of a session speaks: its own, or those of the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession, llm
from livekit.agents.utils import is_given

_METRICS = "metrics_collected"


class AgentModels:
    """Follows the LLM and the TTS of the agent that speaks, and passes their metrics on.

    Attributes:
        listeners: Called with the metrics of each model, in this order.
    """

    def __init__(self, session: AgentSession[Any]) -> None:
        """Begin to follow.

        Args:
            session: Of the agent.
        """
        self.listeners: list[Callable[[Any], None]] = []
        self._session = session
        self._models: list[Any] = []
        self._look()
        session.on("speech_created", self._look)

    @property
    def has_llm(self) -> bool:
        """Whether an agent had an LLM that is no realtime model."""
        return any(isinstance(model, llm.LLM) for model in self._models)

    def close(self) -> None:
        """Follow no more."""
        self._session.off("speech_created", self._look)
        for model in self._models:
            model.off(_METRICS, self._measured)

    def _look(self, _: object = None) -> None:
        """Listen to the models of the agent that speaks now, too."""
        for model in (llm_of(self._session), tts_of(self._session)):
            if hasattr(model, "on") and model not in self._models:
                self._models.append(model)
                model.on(_METRICS, self._measured)

    def _measured(self, metrics: object) -> None:
        for listener in self.listeners:
            listener(metrics)


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
