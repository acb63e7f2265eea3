"""What became of the replies that a session began before the user's turn was over.

The session begins one with every PREFLIGHT_TRANSCRIPT (its preemptive generation), and tells only
that a speech was created. A speech that was not scheduled at once is such a reply: it is scheduled
when the turn ends with the predicted words, and cancelled otherwise.

The tokens are those of the metrics of the LLM, which come when a request has ended or is cancelled.
An LLM that was cancelled before the chunk with its usage tells zeros, and one that was cancelled
before its first chunk tells nothing: then what it had to read is estimated from the text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livekit.agents import (
    AgentSession,
    ConversationItemAddedEvent,
    SpeechCreatedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
)
from livekit.agents.metrics import LLMMetrics
from livekit.agents.voice import SpeechHandle

from cartesia_ink_plugins.core.speculation import PromptEstimate, Speculations, TokenUsage
from cartesia_ink_plugins.core.tap import MomentKind, SpeculationOutcome
from cartesia_ink_plugins.livekit.agent_models import AgentModels

# Seconds; an LLM whose reply was cancelled tells its tokens when it has closed.
_COUNT_TIMEOUT = 0.5


@dataclass(slots=True)
class _Reply:
    """A reply of the agent.

    Attributes:
        speech: How the session speaks of it.
        began_at: On the monotonic clock.
        is_speculative: Whether it was begun before the end of the turn.
        characters: How much text the LLM had to read for it.
        usage: The tokens of the last inference for it; None before it is over.
        outcome: What became of a speculative one; None before that is decided.
        lead: Seconds from its beginning to the outcome.
    """

    speech: SpeechHandle
    began_at: float
    is_speculative: bool
    characters: int
    usage: TokenUsage | None = None
    outcome: SpeculationOutcome | None = None
    lead: float = 0.0

    def decide(self, outcome: SpeculationOutcome) -> None:
        """Settle what became of it; the first decision holds."""
        if self.is_speculative and self.outcome is None:
            self.outcome, self.lead = outcome, time.monotonic() - self.began_at


class PreemptiveReplies:
    """Reports the replies of one session, and what the LLM costs."""

    def __init__(
        self,
        session: AgentSession[Any],
        models: AgentModels,
        report: Callable[[MomentKind, object], None],
        speculations: Speculations,
    ) -> None:
        """Begin to watch.

        Args:
            session: Of the agent.
            models: The LLM of the agent is one of them.
            report: Tells the taps.
            speculations: Of the STT; told of each inference and each outcome.
        """
        self._session = session
        self._models = models
        self._report = report
        self._speculations = speculations
        self._estimate = PromptEstimate()
        self._user_text = ""  # of the turn that is not yet in the history
        self._loop = asyncio.get_running_loop()
        self._replies: dict[str, _Reply] = {}
        self._listeners: dict[Any, Callable[..., None]] = {
            "speech_created": self._created,
            "user_state_changed": self._user_state_changed,
            "user_input_transcribed": self._transcribed,
            "agent_state_changed": self._look,
            "conversation_item_added": self._item_added,
        }
        for event, listener in self._listeners.items():
            session.on(event, listener)
        models.listeners.append(self._measured)

    def close(self) -> None:
        """Watch nothing more; report what is decided."""
        for event, listener in self._listeners.items():
            self._session.off(event, listener)
        for reply in list(self._replies.values()):
            self._ended(reply)

    def _created(self, event: SpeechCreatedEvent) -> None:
        self._loop.call_soon(self._begun, event.speech_handle, time.monotonic())

    def _begun(self, speech: SpeechHandle, at: float) -> None:
        is_speculative = not speech.scheduled
        self._replies[speech.id] = _Reply(speech, at, is_speculative, self._prompt_characters())
        if is_speculative:
            self._report(MomentKind.SPECULATION_BEGAN, None)
        speech.add_done_callback(self._done)

    def _user_state_changed(self, event: UserStateChangedEvent) -> None:
        if event.new_state != "speaking":
            for reply in self._replies.values():
                if reply.speech.interrupted:
                    reply.decide(SpeculationOutcome.WITHDRAWN)

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        self._user_text = event.transcript

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        if getattr(event.item, "role", None) == "user":
            self._user_text = ""
        self._look()

    def _look(self, _: object = None) -> None:
        """See which replies the session has adopted."""
        for reply in list(self._replies.values()):
            if reply.is_speculative and reply.speech.scheduled:
                reply.decide(SpeculationOutcome.KEPT)
                if reply.usage is not None:
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
        if reply.usage is not None:
            self._ended(reply)
        else:
            self._loop.call_later(_COUNT_TIMEOUT, self._ended, reply)

    def _ended(self, reply: _Reply) -> None:
        if self._replies.pop(reply.speech.id, None) is None or reply.outcome is None:
            return
        if (
            reply.usage is None
            and self._models.has_llm
            and reply.outcome is not SpeculationOutcome.KEPT
        ):
            self._spent(self._estimate.usage(reply.characters), reply)
        report = self._speculations.resolved(reply.outcome, reply.lead, reply.usage)
        self._report(MomentKind.SPECULATION_ENDED, report)

    # --- tokens -------------------------------------------------------------------------------

    def _measured(self, metrics: object) -> None:
        if isinstance(metrics, LLMMetrics):
            # Another listener writes the id of the speech into it, before or after this one.
            self._loop.call_soon(self._add_tokens, metrics)

    def _add_tokens(self, metrics: LLMMetrics) -> None:
        reply = self._replies.get(metrics.speech_id or "")
        read, written = metrics.prompt_tokens, metrics.completion_tokens
        if reply is not None:
            self._spent(self._estimate.usage(reply.characters, read, written), reply)
        elif read or written:
            self._spent(TokenUsage(read, written), None)
        if reply is not None and reply.outcome is not None:
            self._ended(reply)

    def _spent(self, usage: TokenUsage, reply: _Reply | None) -> None:
        self._speculations.spending.spent(usage)
        if reply is not None:
            reply.usage = usage

    def _prompt_characters(self) -> int:
        """How much text the LLM has to read now; tools, images and sound have none."""
        agent = self._session.current_agent
        texts = [str(agent.instructions), self._user_text]
        for item in agent.chat_ctx.items:
            match item:
                case llm.ChatMessage(text_content=str(text)):
                    texts.append(text)
                case llm.FunctionCall(arguments=text) | llm.FunctionCallOutput(output=text):
                    texts.append(text)
        return sum(map(len, texts))
