"""What became of the replies that a session began before the user's turn was over.

The session begins one with every PREFLIGHT_TRANSCRIPT (its preemptive generation), and tells only
that a speech was created. A speech that was not scheduled at once is such a reply: it is scheduled
when the turn ends with the predicted words, and cancelled otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livekit.agents import AgentSession, SpeechCreatedEvent, UserStateChangedEvent, llm
from livekit.agents.metrics import LLMMetrics
from livekit.agents.voice import SpeechHandle

from cartesia_ink_plugins.core.tap import MomentKind, Speculation, SpeculationOutcome

_COUNT_TIMEOUT = (
    0.5  # seconds; an LLM whose reply was cancelled tells its tokens when it has closed
)
_METRICS = "metrics_collected"


@dataclass(slots=True)
class _Reply:
    """A reply that was begun before the end of the turn."""

    speech: SpeechHandle
    began_at: float
    outcome: SpeculationOutcome | None = None
    lead: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def decide(self, outcome: SpeculationOutcome) -> None:
        """Settle what became of it; the first decision holds."""
        if self.outcome is None:
            self.outcome, self.lead = outcome, time.monotonic() - self.began_at


class PreemptiveReplies:
    """Reports the replies of one session."""

    def __init__(
        self, session: AgentSession[Any], report: Callable[[MomentKind, object], None]
    ) -> None:
        """Begin to watch.

        Args:
            session: Of the agent.
            report: Tells the taps.
        """
        self._session = session
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._replies: dict[str, _Reply] = {}
        self._llms: list[llm.LLM[Any]] = []
        self._listeners: dict[Any, Callable[..., None]] = {
            "speech_created": self._created,
            "user_state_changed": self._user_state_changed,
            "agent_state_changed": self._look,
            "conversation_item_added": self._look,
        }
        for event, listener in self._listeners.items():
            session.on(event, listener)

    def close(self) -> None:
        """Watch nothing more; report what is decided."""
        for event, listener in self._listeners.items():
            self._session.off(event, listener)
        for model in self._llms:
            model.off(_METRICS, self._counted)
        for reply in list(self._replies.values()):
            if reply.outcome is not None:
                self._ended(reply)
        self._replies.clear()

    def _created(self, event: SpeechCreatedEvent) -> None:
        self._listen_to_llm()
        self._loop.call_soon(self._begun, event.speech_handle, time.monotonic())

    def _begun(self, speech: SpeechHandle, at: float) -> None:
        if speech.scheduled:
            return
        self._replies[speech.id] = _Reply(speech, at)
        self._report(MomentKind.SPECULATION_BEGAN, None)
        speech.add_done_callback(self._done)

    def _user_state_changed(self, event: UserStateChangedEvent) -> None:
        if event.new_state != "speaking":
            for reply in self._replies.values():
                if reply.speech.interrupted:
                    reply.decide(SpeculationOutcome.WITHDRAWN)

    def _look(self, _: object = None) -> None:
        """See which replies the session has adopted."""
        for reply in list(self._replies.values()):
            if reply.speech.scheduled:
                reply.decide(SpeculationOutcome.KEPT)
                if reply.prompt_tokens is not None:
                    self._ended(reply)

    def _done(self, speech: SpeechHandle) -> None:
        """A speech was spoken, or cancelled."""
        if (reply := self._replies.get(speech.id)) is None:
            return
        if speech.scheduled:
            reply.decide(SpeculationOutcome.KEPT)
        elif self._session.user_state == "speaking":
            reply.decide(SpeculationOutcome.WITHDRAWN)
        else:
            reply.decide(SpeculationOutcome.MISMATCHED)
        if reply.prompt_tokens is not None:
            self._ended(reply)
        else:
            self._loop.call_later(_COUNT_TIMEOUT, self._ended, reply)

    def _ended(self, reply: _Reply) -> None:
        if self._replies.pop(reply.speech.id, None) is None or reply.outcome is None:
            return
        speculation = Speculation(
            reply.outcome, reply.lead, reply.prompt_tokens, reply.completion_tokens
        )
        self._report(MomentKind.SPECULATION_ENDED, speculation)

    # --- tokens -------------------------------------------------------------------------------

    def _listen_to_llm(self) -> None:
        """Listen to the LLM of the agent that speaks now."""
        own = self._session.current_agent.llm
        model = own if isinstance(own, llm.LLM) else self._session.llm
        if isinstance(model, llm.LLM) and model not in self._llms:
            self._llms.append(model)
            model.on(_METRICS, self._counted)

    def _counted(self, metrics: LLMMetrics) -> None:
        # Another listener writes the id of the speech into it, before or after this one.
        self._loop.call_soon(self._add_tokens, metrics)

    def _add_tokens(self, metrics: LLMMetrics) -> None:
        reply = self._replies.get(metrics.speech_id or "")
        if reply is None or not (metrics.prompt_tokens or metrics.completion_tokens):
            return  # an LLM that tells no usage tells zeros
        reply.prompt_tokens = (reply.prompt_tokens or 0) + metrics.prompt_tokens
        reply.completion_tokens = (reply.completion_tokens or 0) + metrics.completion_tokens
        if reply.outcome is not None:
            self._ended(reply)
